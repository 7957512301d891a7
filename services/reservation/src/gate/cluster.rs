//! Redis Cluster: a link to each master, and a map of who has which slot.
//!
//! Why not redis-rs's ClusterConnection: it connects and refreshes its map within calls, all of which wait for that; one node that is silent holds up the SKUs of the others,
//! and a pipeline must lie in one slot. Here a call goes to the links of the map as it is, answers that point elsewhere are followed a few times, and everything else, the map
//! included, is a task's of its own. So the promises of `link.rs` hold for each node by itself: nothing waits without a limit, and a node that is dead or slow concerns
//! its own SKUs only.
//!
//! Replicas are never asked: what they say is old.

use super::access::{self, Node, Target};
use super::config::GateConfig;
use super::link::{self, Failure, Link, OnChange};
use super::metrics::GateMetrics;
use super::scripts::{self, Call};
use super::slots::{self, Redirect, SLOTS, View};
use super::{GateState, Keyed, keys};
use holdfast_kit::Fill;
use redis::{Pipeline, Value};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// How often a call is sent on, together: to a slot's new node, and there once more while keys arrive.
const REDIRECTS_MAX: usize = 4;
/// How long keys of which some are here and some there are given to come together.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(3);
/// Masters that are asked who has which slot; what most of them say holds.
const ASKED_MAX: usize = 5;
/// Nobody has the slot.
const NOBODY: u16 = u16::MAX;
/// More masters than any cluster has. What an answer names beyond is left out.
const NODES_MAX: usize = 1_000;

/// The links and the task that knows the map, which ends with it.
#[derive(Debug)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

#[derive(Debug)]
struct Shared {
    config: GateConfig,
    metrics: GateMetrics,
    map: RwLock<Arc<Map>>,
    /// Somebody found the map wrong, or a link has changed.
    stale: Arc<Notify>,
    /// From which master on the next ones are asked for the map.
    turn: AtomicUsize,
    complaint: Mutex<Option<String>>,
}

/// Who has which slot. It is replaced as a whole by what the cluster says; single slots are set when a node says that it has lost one.
#[derive(Debug, Default)]
struct Map {
    nodes: Vec<(Node, Arc<Link>)>,
    /// By slot the position in `nodes`; empty while nothing is known.
    slots: Vec<AtomicU16>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<usize> {
        let position = self.slots.get(usize::from(slot))?.load(Ordering::Relaxed);
        (position != NOBODY).then_some(usize::from(position))
    }

    fn position(&self, node: Option<&Node>) -> Option<usize> {
        let node = node?;
        self.nodes.iter().position(|(known, _)| known == node)
    }

    fn moved(&self, slot: u16, to: usize) {
        if let (Some(owner), Ok(to)) = (self.slots.get(usize::from(slot)), u16::try_from(to)) {
            owner.store(to, Ordering::Relaxed);
        }
    }

    /// The slots whose master is asked.
    fn served(&self) -> usize {
        let up: Vec<bool> = self.nodes.iter().map(|(_, link)| link.is_up()).collect();
        let is_served = |owner: &&AtomicU16| up.get(usize::from(owner.load(Ordering::Relaxed))) == Some(&true);
        self.slots.iter().filter(is_served).count()
    }
}

/// A command on its way.
struct Errand {
    /// Its place among the answers.
    index: usize,
    /// Whom to ask.
    node: usize,
    /// The slot is not the node's yet.
    ahead: bool,
}

impl Cluster {
    /// Tries once to find the cluster and to connect to its masters, then leaves it to tasks of their own.
    pub(super) async fn connect(config: &GateConfig, metrics: GateMetrics) -> Self {
        let shared = Arc::new(Shared {
            config: config.clone(),
            metrics,
            map: RwLock::default(),
            stale: Arc::default(),
            turn: AtomicUsize::new(0),
            complaint: Mutex::default(),
        });
        shared.metrics.up(0.0);
        shared.refresh(true).await;
        let supervisor = tokio::spawn(shared.clone().run()).abort_handle();
        Self { shared, supervisor }
    }

    /// Asks each command's node; one answer or failure for each, in their order. Nodes are asked side by side, each as [`Link::ask`] does; an answer that points elsewhere is
    /// followed while the time of one call is not over. One node's failure is no other's.
    pub(super) async fn ask(&self, call: Call, commands: &[Keyed<'_>]) -> Vec<Result<Value, Failure>> {
        let started = Instant::now();
        let slots: Vec<u16> = commands.iter().map(|keyed| keys::slot(keyed.sku)).collect();
        let mut map = self.shared.map();
        let mut answers: Vec<Result<Value, Failure>> = commands.iter().map(|_| Err(Failure::NotAsked)).collect();
        let mut errands = Vec::with_capacity(commands.len());
        let mut unowned = 0;
        for (index, slot) in slots.iter().enumerate() {
            match map.owner(*slot) {
                Some(node) => errands.push(Errand { index, node, ahead: false }),
                None => unowned += 1,
            }
        }
        if unowned > 0 {
            self.shared.metrics.call(call, super::Outcome::NotAsked);
        }
        let mut redirects_left = REDIRECTS_MAX;
        loop {
            let asked = ask_nodes(&map, call, commands, &errands).await;
            let follows = redirects_left > 0 && started.elapsed() < self.shared.config.response_timeout();
            redirects_left = redirects_left.saturating_sub(1);
            let now = self.shared.map();
            let mut next = Vec::new();
            let mut pause = false;
            for (errand, answer) in errands.iter().zip(asked) {
                let asked = &map.nodes[errand.node].0;
                let redirect = match &answer {
                    Ok(Value::ServerError(error)) => slots::redirect(error, Some(asked)),
                    _ => None,
                };
                if let Some(redirect) = redirect {
                    pause |= redirect == Redirect::TryAgain;
                    next.extend(self.follow(&now, errand, slots[errand.index], &redirect, (asked, follows)));
                }
                // What is followed is overwritten by its next answer.
                answers[errand.index] = answer;
            }
            if next.is_empty() || !follows {
                return answers;
            }
            if pause {
                sleep(TRY_AGAIN_PAUSE).await;
            }
            (map, errands) = (now, next);
        }
    }

    /// Where an errand goes next; nowhere if the node that it is pointed to is not known yet.
    fn follow(
        &self,
        map: &Map,
        errand: &Errand,
        slot: u16,
        redirect: &Redirect,
        (asked, follows): (&Node, bool),
    ) -> Option<Errand> {
        self.shared.metrics.redirected(redirect.name());
        let index = errand.index;
        match redirect {
            Redirect::Moved(to) => {
                self.shared.stale.notify_one();
                let node = map.position(to.as_ref())?;
                map.moved(slot, node);
                follows.then_some(Errand { index, node, ahead: false })
            }
            Redirect::Ask(to) => {
                let node = map.position(to.as_ref());
                if node.is_none() {
                    self.shared.stale.notify_one();
                }
                Some(Errand { index, node: node?, ahead: true }).filter(|_| follows)
            }
            Redirect::TryAgain => {
                let node = map.position(Some(asked))?;
                follows.then_some(Errand { index, node, ahead: errand.ahead })
            }
            Redirect::Unserved => {
                self.shared.stale.notify_one();
                None
            }
        }
    }

    /// Whether the masters of all slots are asked, of some, or of none.
    pub(super) fn state(&self) -> GateState {
        match self.shared.map().served() {
            SLOTS => GateState::Up,
            0 => GateState::Down,
            _ => GateState::Partly,
        }
    }

    /// How many calls have their turn or wait for one at the fullest node.
    pub(super) fn fill(&self) -> Fill {
        let map = self.shared.map();
        let fills = map.nodes.iter().map(|node| node.1.fill());
        fills.max_by(|one, other| one.ratio().total_cmp(&other.ratio())).unwrap_or(Fill { used: 0, limit: 1 })
    }

    /// Masters of the cluster, as far as they are known.
    pub(super) fn masters(&self) -> usize {
        self.shared.map().nodes.len()
    }
}

/// Asks the nodes side by side; the answers in the order of the errands.
async fn ask_nodes(map: &Map, call: Call, commands: &[Keyed<'_>], errands: &[Errand]) -> Vec<Result<Value, Failure>> {
    let mut groups: BTreeMap<(usize, bool), (Pipeline, Vec<usize>)> = BTreeMap::new();
    for (place, errand) in errands.iter().enumerate() {
        let (commands_of_node, places) = groups.entry((errand.node, errand.ahead)).or_default();
        commands_of_node.add_command(commands[errand.index].command.clone());
        places.push(place);
    }
    let mut answers: Vec<Result<Value, Failure>> = errands.iter().map(|_| Err(Failure::NotAsked)).collect();
    let asking = groups.into_iter().map(|((node, ahead), (commands, places))| async move {
        let link = &map.nodes[node].1;
        let asked = if ahead { link.ask_ahead(call, &commands).await } else { link.ask(call, &commands).await };
        (places, asked)
    });
    for (places, asked) in side_by_side(asking).await {
        match asked {
            Ok(values) => {
                for (place, value) in places.into_iter().zip(values) {
                    answers[place] = Ok(value);
                }
            }
            Err(failure) => places.into_iter().for_each(|place| answers[place] = Err(failure)),
        }
    }
    answers
}

/// Something that runs, and what it came to.
type Running<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

/// Waits for all of them at once.
async fn side_by_side<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Running<F>> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

impl Shared {
    fn map(&self) -> Arc<Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the map fresh: when somebody found it wrong, when a link has changed, and every so often.
    async fn run(self: Arc<Self>) {
        loop {
            let is_whole = self.map().served() == SLOTS;
            let pause = if is_whole { self.config.heartbeat_interval() } else { self.config.probe_interval() };
            let _when_it_is_time = timeout(pause, self.stale.notified()).await;
            self.refresh(false).await;
            // However many complain, the cluster is not asked more often.
            sleep(self.config.probe_interval().min(pause)).await;
        }
    }

    /// Asks the cluster who has which slot, and makes links of it. `at_start`: waits for the first try of each link.
    async fn refresh(&self, at_start: bool) {
        let mut views = self.views_of_links().await;
        if views.is_empty() {
            views = self.views_of_seeds().await;
        }
        if let Some(view) = View::of_most(views) {
            self.apply(&view, at_start).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are 16,384 slots")]
        self.metrics.up(self.map().served() as f64 / SLOTS as f64);
    }

    /// What masters that are asked anyway say.
    async fn views_of_links(&self) -> Vec<View> {
        let map = self.map();
        let up: Vec<&(Node, Arc<Link>)> = map.nodes.iter().filter(|(_, link)| link.is_up()).collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % up.len().max(1);
        let asking = up.iter().cycle().skip(first).take(up.len().min(ASKED_MAX)).map(|(node, link)| async move {
            let mut commands = Pipeline::new();
            commands.add_command(scripts::topology());
            let answers = link.ask(Call::Topology, &commands).await.ok()?;
            self.metrics.call(Call::Topology, link::outcome(&answers));
            View::read(answers.first()?, node).filter(|view| !view.ranges.is_empty())
        });
        side_by_side(asking).await.into_iter().flatten().collect()
    }

    /// What the nodes of the configuration say, over connections of their own.
    async fn views_of_seeds(&self) -> Vec<View> {
        let seeds = match access::seeds(&self.config) {
            Ok(seeds) => seeds,
            Err(complaint) => {
                self.complain(Some(complaint));
                return Vec::new();
            }
        };
        let asking = seeds.iter().map(|seed| async move {
            let view = self.view_of_seed(seed).await;
            view.map_err(|complaint| format!("{seed}: {complaint}"))
        });
        let mut views = Vec::new();
        let mut complaints = Vec::new();
        for view in side_by_side(asking).await {
            match view {
                Ok(view) => views.push(view),
                Err(complaint) => complaints.push(complaint),
            }
        }
        self.complain(views.is_empty().then(|| complaints.join("; ")));
        views
    }

    async fn view_of_seed(&self, seed: &Node) -> Result<View, String> {
        let mut connection = link::dial(&self.config, &Target::Node(seed.clone())).await?;
        let topology = scripts::topology();
        let asking = redis::aio::ConnectionLike::req_packed_command(&mut connection, &topology);
        let answer = timeout(self.config.connect_timeout(), asking).await;
        let answer = answer.map_err(|_elapsed| "no answer".to_owned())?.map_err(|error| error.to_string())?;
        if let Value::ServerError(error) = &answer {
            return Err(error.to_string());
        }
        let view = View::read(&answer, seed).ok_or("its answer to CLUSTER SLOTS makes no sense")?;
        if view.ranges.is_empty() { Err("it knows of no slot".to_owned()) } else { Ok(view) }
    }

    /// Logs why the cluster cannot be found, once for each reason.
    fn complain(&self, complaint: Option<String>) {
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complaint) = complaint.as_ref().filter(|complaint| last.as_ref() != Some(*complaint)) {
            tracing::warn!(%complaint, "the Redis cluster cannot be found; requests go past the gate");
        }
        *last = complaint;
    }

    /// Makes the map say what the view says. Links to nodes that are masters still are kept, links to others end with the last call that uses them.
    async fn apply(&self, view: &View, at_start: bool) {
        let old = self.map();
        let mut names = view.nodes();
        names.truncate(NODES_MAX);
        let link_to = |node: &Node| {
            let known = old.nodes.iter().find(|(known, _)| known == node).map(|(_, link)| link.clone());
            let target = Target::Node(node.clone());
            async move {
                match known {
                    Some(link) => link,
                    None if at_start => {
                        Arc::new(Link::connect(target, &self.config, self.metrics.clone(), self.on_change()).await)
                    }
                    None => Arc::new(Link::start(target, &self.config, self.metrics.clone(), self.on_change())),
                }
            }
        };
        let links = side_by_side(names.iter().map(link_to)).await;
        let slots: Vec<AtomicU16> = (0..SLOTS).map(|_| AtomicU16::new(NOBODY)).collect();
        for (first, last, node) in &view.ranges {
            let Some(position) = names.iter().position(|name| name == node) else { continue };
            let position = u16::try_from(position).unwrap_or(NOBODY);
            for slot in &slots[usize::from(*first)..=usize::from(*last)] {
                slot.store(position, Ordering::Relaxed);
            }
        }
        let map = Map { nodes: names.into_iter().zip(links).collect(), slots };
        for (position, (_, link)) in map.nodes.iter().enumerate() {
            map.keep_probe(position, link);
        }
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    fn on_change(&self) -> OnChange {
        let stale = self.stale.clone();
        Arc::new(move |_up| stale.notify_one())
    }
}

impl Map {
    /// Has a node tried with a key in one of its own slots.
    fn keep_probe(&self, position: usize, link: &Link) {
        let is_its_own = |number: &u32| self.owner(keys::probe_slot(*number)) == Some(position);
        if !is_its_own(&link.probe())
            && let Some(number) = (0..PROBES_MAX).find(is_its_own)
        {
            link.probe_with(number);
        }
    }
}

/// Probes that are looked through for one in a slot of a node: enough to find even one of few slots.
const PROBES_MAX: u32 = 200_000;

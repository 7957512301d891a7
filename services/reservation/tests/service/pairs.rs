//! Races of every pair of verbs, on one reservation and on one SKU: whatever happens at once must look as if one had come after the other.
//!
//! The oracle is the service itself: each pair is first done one after the other, in both orders, from the same beginning; then at once, over one replica and over
//! two. What was answered, where the reservations stand and what the row of stock says must be what one of the two orders gave.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::reason_of;
use tonic::{Response, Status};

use crate::world::{Options, WAREHOUSE, World, confirm, key, release, seconds, test_with};

/// Something that is done to a reservation or to its SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Confirm,
    ConfirmOne,
    Reacquire,
    Release,
    Extend,
    Replace,
    Fulfil,
    FulfilOne,
    Cancel,
    CancelOne,
    Lose,
    Return,
    Sent,
    Booked,
    CancellationTaken,
    Reserve,
    CountOnHand,
    CountAvailable,
    CountIfTen,
    Adjust,
    Pause,
    Backorder,
    Move,
}

impl Verb {
    const ALL: [Self; 23] = [
        Self::Confirm,
        Self::ConfirmOne,
        Self::Reacquire,
        Self::Release,
        Self::Extend,
        Self::Replace,
        Self::Fulfil,
        Self::FulfilOne,
        Self::Cancel,
        Self::CancelOne,
        Self::Lose,
        Self::Return,
        Self::Sent,
        Self::Booked,
        Self::CancellationTaken,
        Self::Reserve,
        Self::CountOnHand,
        Self::CountAvailable,
        Self::CountIfTen,
        Self::Adjust,
        Self::Pause,
        Self::Backorder,
        Self::Move,
    ];
}

/// Where the reservations stand when the race begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Four units held.
    Held,
    /// Four units bought, all sent to the vendor, one of them shipped.
    Sold,
    /// A hold of four units whose time is over.
    Over,
}

/// A SKU with ten units, and two reservations of four on it.
struct Scene {
    sku: String,
    ids: [String; 2],
    /// When it was prepared.
    now: i64,
}

/// What can be seen of a scene when everything is over: what was answered, the reservations, the row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    answers: [String; 2],
    reservations: [String; 2],
    row: String,
}

fn two_replicas() -> Options {
    Options { replicas: 2, ..Options::default() }
}

/// Whole seconds since 1970. What happens in one scene is dated once, so that both orders and the race say the same.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("in range")
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn count(
    sku: &str,
    units: i64,
    meaning: pb::CountMeaning,
    as_of: i64,
    expected: Option<i64>,
) -> pb::ApplyCountsRequest {
    pb::ApplyCountsRequest {
        request_id: key(),
        connection: "house".into(),
        run: "run".into(),
        as_of_time: at(as_of),
        meaning: meaning.into(),
        counts: vec![pb::Count {
            sku: sku.into(),
            location: WAREHOUSE.into(),
            quantity: units,
            effect: pb::CountEffect::Set.into(),
            expected_on_hand: expected,
        }],
        ..Default::default()
    }
}

fn cart(sku: &str, units: i64) -> pb::ReserveRequest {
    crate::world::ask(&[(sku, units)])
}

fn one(sku: &str) -> Vec<pb::Portion> {
    vec![pb::Portion { sku: sku.into(), location: String::new(), quantity: 1 }]
}

impl Scene {
    async fn prepare(world: &World, sku: String, start: Start) -> Self {
        let now = now();
        let first = count(&sku, 10, pb::CountMeaning::OnHand, now - 120, None);
        world.stock().apply_counts(first).await.unwrap();
        let mut scene = Self { sku, ids: [String::new(), String::new()], now };
        let (one, other) = tokio::join!(scene.reserved(world, start), scene.reserved(world, start));
        scene.ids = [one, other];
        if start == Start::Over {
            let free = |level: &pb::StockLevel| level.held == 0;
            world.level_becomes(&scene.sku, "the holds are over and swept", free).await;
        }
        scene
    }

    /// One of its reservations.
    async fn reserved(&self, world: &World, start: Start) -> String {
        let mut client = world.reservations();
        let hold_duration = if start == Start::Over { seconds(1) } else { None };
        let request = pb::ReserveRequest { hold_duration, ..cart(&self.sku, 4) };
        let id = request.reservation_id.clone();
        client.reserve(request).await.unwrap();
        if start == Start::Sold {
            client.confirm(confirm(&id)).await.unwrap();
            client.record_evidence(self.evidence(&id, pb::EvidenceKind::Sent, Vec::new())).await.unwrap();
            client.fulfil(self.shipped(&id, one(&self.sku))).await.unwrap();
        }
        id
    }

    fn evidence(&self, id: &str, kind: pb::EvidenceKind, portions: Vec<pb::Portion>) -> pb::RecordEvidenceRequest {
        pb::RecordEvidenceRequest {
            request_id: key(),
            reservation_id: id.into(),
            kind: kind.into(),
            portions,
            event_time: at(self.now - 60),
            validate_only: false,
        }
    }

    fn shipped(&self, id: &str, portions: Vec<pb::Portion>) -> pb::FulfilRequest {
        pb::FulfilRequest {
            request_id: key(),
            reservation_id: id.into(),
            portions,
            ship_time: at(self.now - 60),
            validate_only: false,
        }
    }

    fn called_off(id: &str, portions: Vec<pb::Portion>, restock: pb::CancelRestock) -> pb::CancelRequest {
        pb::CancelRequest {
            request_id: key(),
            reservation_id: id.into(),
            portions,
            restock: restock.into(),
            actor: "ann".into(),
            note: "called off".into(),
            validate_only: false,
        }
    }

    /// Does it on a replica, to the first or the second reservation, and says what was answered.
    async fn act(&self, world: &World, replica: usize, verb: Verb, which: usize) -> String {
        let (sku, id) = (self.sku.as_str(), self.ids[which].as_str());
        if let Some(answer) = self.act_on_sku(world, replica, verb).await {
            return answer;
        }
        let mut client = world.reservations_of(replica);
        let to = |reservation: Option<pb::Reservation>| format!("{:?}", reservation.unwrap().state());
        match verb {
            Verb::Confirm => told(client.confirm(confirm(id)).await, |a| to(a.reservation)),
            Verb::ConfirmOne => {
                let part = pb::ConfirmRequest { portions: one(sku), ..confirm(id) };
                told(client.confirm(part).await, |a| to(a.reservation))
            }
            Verb::Reacquire => {
                let again = pb::ConfirmRequest { reacquire_reservation_id: key(), ..confirm(id) };
                told(client.confirm(again).await, |a| to(a.reservation))
            }
            Verb::Release => told(client.release(release(id)).await, |a| to(a.reservation)),
            Verb::Extend => {
                let longer =
                    pb::ExtendRequest { request_id: key(), reservation_id: id.into(), hold_duration: seconds(1_000) };
                told(client.extend(longer).await, |a| to(a.reservation))
            }
            Verb::Replace => {
                let new = pb::ReplaceRequest { replaced_reservation_id: id.into(), reservation: Some(cart(sku, 6)) };
                told(client.replace(new).await, |a| to(a.reservation))
            }
            Verb::Fulfil => told(client.fulfil(self.shipped(id, Vec::new())).await, |a| to(a.reservation)),
            Verb::FulfilOne => told(client.fulfil(self.shipped(id, one(sku))).await, |a| to(a.reservation)),
            Verb::Cancel | Verb::CancelOne | Verb::Lose => {
                let portions = if verb == Verb::Cancel { Vec::new() } else { one(sku) };
                let restock = if verb == Verb::Lose { pb::CancelRestock::Lost } else { pb::CancelRestock::Restocked };
                told(client.cancel(Self::called_off(id, portions, restock)).await, |a| to(a.reservation))
            }
            Verb::Return => {
                let back = pb::ReturnRequest {
                    request_id: key(),
                    reservation_id: id.into(),
                    returns: vec![pb::ReturnedPortion {
                        portion: one(sku).pop(),
                        condition: pb::Condition::Damaged.into(),
                        to_location: String::new(),
                    }],
                    ..Default::default()
                };
                told(client.r#return(back).await, |a| to(a.reservation))
            }
            Verb::Sent | Verb::Booked | Verb::CancellationTaken => {
                let kind = match verb {
                    Verb::Sent => pb::EvidenceKind::Sent,
                    Verb::Booked => pb::EvidenceKind::Booked,
                    _ => pb::EvidenceKind::CancellationTaken,
                };
                told(client.record_evidence(self.evidence(id, kind, Vec::new())).await, |a| to(a.reservation))
            }
            _ => panic!("{verb:?} is a SKU's"),
        }
    }

    /// What is done to the SKU as a whole; none for the verbs on a reservation.
    async fn act_on_sku(&self, world: &World, replica: usize, verb: Verb) -> Option<String> {
        let sku = self.sku.as_str();
        let mut stock = world.stock_of(replica);
        let number = |response: pb::ApplyCountsResponse| {
            let result = &response.results[0];
            format!("{:?} {} {}", result.outcome(), result.on_hand, result.reflected_quantity)
        };
        Some(match verb {
            Verb::Reserve => {
                let mut client = world.reservations_of(replica);
                told(client.reserve(cart(sku, 3)).await, |_| "held".to_owned())
            }
            Verb::CountOnHand => {
                told(stock.apply_counts(count(sku, 9, pb::CountMeaning::OnHand, self.now - 30, None)).await, number)
            }
            Verb::CountAvailable => {
                told(stock.apply_counts(count(sku, 7, pb::CountMeaning::Available, self.now - 20, None)).await, number)
            }
            Verb::CountIfTen => told(
                stock.apply_counts(count(sku, 12, pb::CountMeaning::OnHand, self.now - 10, Some(10))).await,
                number,
            ),
            Verb::Adjust => {
                let adjustment = pb::Adjustment {
                    sku: sku.into(),
                    location: WAREHOUSE.into(),
                    condition: pb::Condition::Sellable.into(),
                    delta: -1,
                    reason: pb::AdjustmentReason::Lost.into(),
                };
                let request = pb::AdjustStockRequest {
                    request_id: key(),
                    actor: "ann".into(),
                    note: "gone".into(),
                    adjustments: vec![adjustment],
                };
                told(stock.adjust_stock(request).await, |a| format!("{} on hand", a.levels[0].on_hand))
            }
            Verb::Pause | Verb::Backorder | Verb::Move => self.act_on_selling(world, replica, verb).await,
            _ => return None,
        })
    }

    async fn act_on_selling(&self, world: &World, replica: usize, verb: Verb) -> String {
        let sku = self.sku.as_str();
        let mut stock = world.stock_of(replica);
        match verb {
            Verb::Pause => {
                let request = pb::PauseSellingRequest {
                    request_id: key(),
                    skus: vec![sku.into()],
                    actor: "ann".into(),
                    note: "a wrong price".into(),
                };
                told(stock.pause_selling(request).await, |a| format!("{} paused", a.changed_skus.len()))
            }
            Verb::Backorder => {
                let policy = pb::SkuPolicy {
                    sku: sku.into(),
                    version: 1,
                    backorder_limit: 2,
                    locations: vec![WAREHOUSE.into()],
                    ..Default::default()
                };
                let request = pb::ApplyPoliciesRequest { policies: vec![policy] };
                told(stock.apply_policies(request).await, |a| format!("{} applied", a.applied))
            }
            Verb::Move => {
                let moved = pb::Move {
                    sku: sku.into(),
                    from_location: WAREHOUSE.into(),
                    from_condition: pb::Condition::Sellable.into(),
                    to_location: WAREHOUSE.into(),
                    to_condition: pb::Condition::Damaged.into(),
                    quantity: 1,
                };
                let request = pb::MoveStockRequest {
                    request_id: key(),
                    moves: vec![moved],
                    actor: "ann".into(),
                    note: "broken".into(),
                    validate_only: false,
                };
                told(stock.move_stock(request).await, |a| format!("{} on hand", a.levels[0].on_hand))
            }
            _ => panic!("{verb:?} is nothing of selling's"),
        }
    }

    async fn ending(&self, world: &World, answers: [String; 2]) -> Ending {
        let mut reservations = [String::new(), String::new()];
        for (id, seen) in self.ids.iter().zip(&mut reservations) {
            let found = world.get(id).await.unwrap();
            let units: Vec<String> = found
                .lines
                .iter()
                .flat_map(|line| &line.allocations)
                .map(|a| {
                    format!(
                        "{} of which {} released {} cancelled {} shipped {} returned",
                        a.quantity,
                        a.released_quantity,
                        a.cancelled_quantity,
                        a.fulfilled_quantity,
                        a.returned_quantity
                    )
                })
                .collect();
            *seen = format!("{:?} {units:?} succeeded: {}", found.state(), !found.successor_id.is_empty());
        }
        let level = world.level(&self.sku).await;
        let row = format!(
            "{} on hand, {} held, {} committed, {} backorder, {} short, {} offered, {:?}, paused: {}",
            level.on_hand,
            level.held,
            level.committed,
            level.backorder_limit,
            level.shortfall,
            level.available,
            level.unsellable,
            level.paused
        );
        Ending { answers, reservations, row }
    }
}

fn told<T>(outcome: Result<Response<T>, Status>, how: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(response) => how(response.into_inner()),
        Err(status) => match reason_of(&status) {
            Some(reason) => format!("{reason:?}"),
            None => panic!("no reason in {status:?}"),
        },
    }
}

/// Both orders, then twice at once: over one replica, so that they meet in a batch, and over two, so that they meet in Postgres.
async fn race(world: &World, name: String, start: Start, (a, b): (Verb, Verb), other: usize) {
    let scene = async |round: &str| Scene::prepare(world, format!("{name}-{round}"), start).await;
    let mut allowed = Vec::new();
    for reversed in [false, true] {
        let scene = scene(if reversed { "BA" } else { "AB" }).await;
        let answers = if reversed {
            let second = scene.act(world, 0, b, other).await;
            [scene.act(world, 0, a, 0).await, second]
        } else {
            [scene.act(world, 0, a, 0).await, scene.act(world, 0, b, other).await]
        };
        allowed.push(scene.ending(world, answers).await);
    }
    for replica in [0, 1] {
        let scene = scene(&format!("at-once-{replica}")).await;
        let (one, two) = tokio::join!(scene.act(world, 0, a, 0), scene.act(world, replica, b, other));
        let ending = scene.ending(world, [one, two]).await;
        assert!(
            allowed.contains(&ending),
            "{a:?} beside {b:?} on a reservation that is {start:?} ended as no order of them does:\n{ending:#?}\n{allowed:#?}"
        );
    }
}

type Race<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs all of them to their ends, in this task: they borrow the world.
async fn all_of(mut races: Vec<Race<'_>>) {
    poll_fn(|context| {
        races.retain_mut(|race| race.as_mut().poll(context).is_pending());
        if races.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Races that run beside each other.
const RACES_AT_ONCE: usize = 32;

fn race_all(start: Start, verbs: &[Verb], other: usize) {
    let pairs: Vec<(Verb, Verb)> =
        verbs.iter().enumerate().flat_map(|(n, a)| verbs[n..].iter().map(move |b| (*a, *b))).collect();
    test_with(two_replicas(), async |world| {
        for (turn, together) in pairs.chunks(RACES_AT_ONCE).enumerate() {
            let races = together.iter().enumerate().map(|(n, pair)| {
                let name = format!("{start:?}-{other}-{}", turn * RACES_AT_ONCE + n);
                race(world, name, start, *pair, other)
            });
            all_of(races.map(|race| Box::pin(race) as Race<'_>).collect()).await;
            assert_eq!(world.audit().await, [], "after {together:?}");
        }
    });
}

#[test]
fn every_pair_of_verbs_on_one_hold_is_as_if_one_came_after_the_other() {
    race_all(Start::Held, &Verb::ALL, 0);
}

#[test]
fn every_pair_of_verbs_on_one_sale_is_as_if_one_came_after_the_other() {
    race_all(Start::Sold, &Verb::ALL, 0);
}

#[test]
fn every_pair_of_verbs_on_two_holds_of_one_sku_is_as_if_one_came_after_the_other() {
    race_all(Start::Held, &Verb::ALL, 1);
}

#[test]
fn every_pair_of_verbs_on_two_sales_of_one_sku_is_as_if_one_came_after_the_other() {
    race_all(Start::Sold, &Verb::ALL, 1);
}

#[test]
fn every_pair_of_verbs_on_a_hold_that_is_over_is_as_if_one_came_after_the_other() {
    let verbs = [
        Verb::Confirm,
        Verb::Reacquire,
        Verb::Release,
        Verb::Replace,
        Verb::Reserve,
        Verb::CountOnHand,
        Verb::Pause,
        Verb::Adjust,
    ];
    race_all(Start::Over, &verbs, 0);
}

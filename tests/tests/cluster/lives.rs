//! Processes of reservation killed while orders live through every verb: replaced, confirmed in part, shipped, called off, returned. Whatever was cut off in
//! the middle is asked again with its key, and each verb has its effect once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_client::{Line, RequestKey, ReservationClient, ReservationKey, Reserve};
use holdfast_testkit::{eventually, seed};
use rand::Rng as _;
use tokio::time::Instant;

use crate::world::{Cluster, Options, scenario};

const BUYERS: usize = 12;
/// So many kills, and then more until one has hit an effect that had landed, at most so many.
const KILLS: std::ops::Range<usize> = 6..60;
/// Longer than a busy machine takes for some orders.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn one_of_two_replicas_killed_while_orders_live_leaves_each_verb_with_one_effect() {
    let seed = seed();
    scenario(Options::reservation(2), async |cluster| {
        eprintln!("to repeat when it is killed: HOLDFAST_TEST_SEED={}", seed.value());
        cluster.count(&[("DESK", 1_000_000), ("LAMP", 1_000_000)]).await;
        let seen = Arc::new(Seen::default());
        let buyers: Vec<_> =
            (0..BUYERS).map(|buyer| tokio::spawn(live(cluster.reservations(), buyer, Arc::clone(&seen)))).collect();
        let (mut random, mut kill) = (seed.rng(0), 0);
        while kill < KILLS.start || kill < KILLS.end && seen.replays.load(Ordering::Relaxed) == 0 {
            seen.after(random.random_range(10..60)).await;
            let moment = Instant::now() + Duration::from_micros(random.random_range(0..20_000));
            tokio::time::sleep_until(moment).await;
            cluster.reservation[kill % 2].kill().await.expect("it is killed");
            seen.after(20).await;
            cluster.reservation[kill % 2].start_again().await.expect("it starts again");
            cluster.audited().await;
            kill += 1;
        }
        seen.stop.store(true, Ordering::Relaxed);
        let mut lives = Vec::new();
        for buyer in buyers {
            lives.extend(buyer.await.expect("a buyer does not panic"));
        }
        let replays = seen.replays.load(Ordering::Relaxed);
        eprintln!("{} orders lived through {kill} kills; {replays} answers were replays", lives.len());
        assert!(replays > 0, "no kill hit an effect that had landed, so this says nothing");
        each_as_it_was_told(cluster, &lives).await;
    });
}

/// What the buyers were answered, and whether they shall stop.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    replays: AtomicUsize,
    stop: AtomicBool,
}

impl Seen {
    /// Waits until so many more calls were answered.
    async fn after(&self, more: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + more;
        eventually("buyers get answers", PATIENCE, || async {
            (self.answers.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    fn answer(&self, replayed: bool) {
        self.replays.fetch_add(usize::from(replayed), Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// One order after the other, each through all verbs.
async fn live(client: ReservationClient, buyer: usize, seen: Arc<Seen>) -> Vec<ReservationKey> {
    let mut lives = Vec::new();
    while !seen.stop.load(Ordering::Relaxed) {
        let owner = format!("buyer-{buyer}");
        let cart = Reserve::new(ReservationKey::new(), &owner, [Line::anywhere("DESK", 2)]);
        let key = ReservationKey::new();
        let wanted = Reserve::new(key, &owner, [Line::anywhere("DESK", 4), Line::anywhere("LAMP", 1)]);
        seen.answer(client.reserve(&cart).await.expect("there is plenty").replayed);
        seen.answer(client.replace(cart.key(), &wanted).await.expect("the owner's own hold").replayed);
        let request = pb::ConfirmRequest { portions: desks(3), ..of(key) };
        seen.answer(client.confirm_as(RequestKey::new(), request).await.expect("it is held").replayed);
        let id = key.to_string();
        let request = pb::FulfilRequest { reservation_id: id.clone(), portions: desks(2), ..Default::default() };
        seen.answer(client.fulfil(RequestKey::new(), request).await.expect("it is sold").replayed);
        let request = pb::CancelRequest {
            reservation_id: id.clone(),
            restock: pb::CancelRestock::Restocked.into(),
            actor: owner.clone(),
            note: "changed their mind".to_owned(),
            ..Default::default()
        };
        seen.answer(client.cancel(RequestKey::new(), request).await.expect("one is not shipped").replayed);
        let returned = pb::ReturnedPortion {
            portion: desks(1).pop(),
            condition: pb::Condition::Sellable.into(),
            to_location: String::new(),
        };
        let request = pb::ReturnRequest {
            reservation_id: id,
            returns: vec![returned],
            actor: owner,
            note: "too tall".to_owned(),
            ..Default::default()
        };
        seen.answer(client.take_back(RequestKey::new(), request).await.expect("it was shipped").replayed);
        lives.push(key);
    }
    lives
}

fn of(key: ReservationKey) -> pb::ConfirmRequest {
    pb::ConfirmRequest { reservation_id: key.to_string(), ..Default::default() }
}

fn desks(quantity: i64) -> Vec<pb::Portion> {
    vec![pb::Portion { sku: "DESK".to_owned(), location: String::new(), quantity }]
}

/// Every order is what its buyer was told, and the ledger has each verb once for each.
async fn each_as_it_was_told(cluster: &Cluster, lives: &[ReservationKey]) {
    let client = cluster.reservations();
    for key in lives {
        let order = client.get_reservation(*key).await.expect("it is there").reservation.expect("a reservation");
        let [desk, lamp] = order.lines.as_slice() else { panic!("two lines: {order:?}") };
        let [desk, lamp] = [&desk.allocations[0], &lamp.allocations[0]];
        let told = (desk.released_quantity, desk.cancelled_quantity, desk.fulfilled_quantity, desk.returned_quantity);
        assert_eq!(told, (1, 1, 2, 1), "{order:?}");
        assert_eq!(lamp.released_quantity, 1, "{order:?}");
    }
    let each: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT cause, count(*), count(DISTINCT cause_id) FROM ledger \
         WHERE sku = 'DESK' AND cause IN ('CONFIRM', 'FULFIL', 'CANCEL', 'RETURN') GROUP BY cause ORDER BY cause",
    )
    .fetch_all(&cluster.record)
    .await
    .expect("the ledger");
    let orders = i64::try_from(lives.len()).expect("few");
    let wanted: Vec<_> =
        ["CANCEL", "CONFIRM", "FULFIL", "RETURN"].map(|cause| (cause.to_owned(), orders, orders)).to_vec();
    assert_eq!(each, wanted);
    let held = cluster.number("SELECT sum(held)::bigint FROM stock").await;
    assert_eq!(held, 0, "nothing is held any more: replaced, confirmed or given back");
}

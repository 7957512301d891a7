//! Numbers that a guard stops: what is offered while they wait, and what people decide.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::reservation::v1 as pb;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{FeedMode, QuarantineState as Q, RowOutcome, RunState};
use holdfast_testkit::eventually;
use holdfast_vendor_sync::store::Store;
use tokio::task::JoinSet;

use crate::interruptions::Killable;
use crate::world::{BERLIN, World, channel, client, id, reason, totals, violations};

const PATIENCE: Duration = Duration::from_secs(60);

/// A feed that said 150 chairs and 8 cups.
async fn shop() -> World {
    let world = World::feed(FeedMode::Full, "a:CHAIR b:CUP").await;
    world.upload(0, "a=150 b=8").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_999_for_150_waits_while_its_neighbour_is_applied_and_nothing_more_is_sold() {
    let world = shop().await;
    let run = world.upload(1, "a=999 b=7").await;
    assert_eq!((run.state(), world.report(&run).await.as_str()), (RunState::Applied, "2:a:Quarantined 3:b:Applied"));
    assert_eq!(run.totals.unwrap().quarantined, 1);
    assert_eq!(world.stock(), "CHAIR=150 CUP=7");
    let row = world.waiting().await;
    assert_eq!((row.old_quantity, row.new_quantity, row.exposure), (Some(150), Some(999), 849));
    assert_eq!(row.rules, ["R4", "R2"]);
    assert_eq!((row.connection.as_str(), row.location.as_str(), row.sku.as_str()), ("acme-berlin", "berlin", "CHAIR"));
    assert_eq!((row.line, row.raw_quantity.as_str(), &row.run_id), (2, "999", &run.run_id));
    assert_eq!(world.rows(&run).await[0].quarantine_id, row.quarantine_id);
    let got = wire::GetQuarantinedRowRequest { quarantine_id: row.quarantine_id.clone() };
    assert_eq!(world.quarantine().get_quarantined_row(got).await.unwrap().into_inner().row, Some(row));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_person_is_counted_with_the_age_of_the_oldest() {
    let world = shop().await;
    let store = Store::new(world.database.pool(1).await);
    let none = store.backlog().await.unwrap();
    assert_eq!((none.waiting_numbers, none.held_files, none.unfinished_runs), (0, 0, 0));
    assert_eq!((none.waiting_number_seconds, none.held_file_seconds, none.unfinished_seconds), (0.0, 0.0, 0.0));
    assert_eq!((none.active_connections, none.paused_connections), (2, 0), "the vendor's, and the house's own");

    world.upload(1, "a=999 b=7").await;
    let admin = world.database.admin_pool().await;
    sqlx::query("UPDATE quarantined SET create_time = create_time - interval '1 hour'").execute(&admin).await.unwrap();
    let one = store.backlog().await.unwrap();
    assert_eq!((one.waiting_numbers, one.held_files), (1, 0));
    assert!((3600.0..3660.0).contains(&one.waiting_number_seconds), "{one:?}");

    world.reject_row(&world.waiting().await.quarantine_id).await.unwrap();
    // As if a file had been held for a day, and the connection were paused.
    for change in [
        "UPDATE run SET state = 'HELD', create_time = now() - interval '1 day', end_time = NULL WHERE number = 1",
        "UPDATE connection SET state = 'PAUSED', state_reason = 'x' WHERE code <> 'house'",
    ] {
        sqlx::query(change).execute(&admin).await.unwrap_or_else(|error| panic!("{change}: {error}"));
    }
    let held = store.backlog().await.unwrap();
    assert_eq!((held.waiting_numbers, held.held_files, held.waiting_number_seconds), (0, 1, 0.0));
    assert!((86_400.0..86_460.0).contains(&held.held_file_seconds), "{held:?}");
    assert_eq!((held.active_connections, held.paused_connections), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_number_is_applied_once_and_remembered() {
    let world = shop().await;
    world.upload(1, "a=999 b=8").await;
    let row = world.waiting().await;
    let request = wire::ApproveQuarantinedRowRequest {
        request_id: id(),
        quarantine_id: row.quarantine_id.clone(),
        actor: "eva".to_owned(),
        reason: "a delivery came".to_owned(),
        quantity: None,
    };
    let landed = world.peers.landed();
    for _ in 0..3 {
        let approved =
            world.quarantine().approve_quarantined_row(request.clone()).await.unwrap().into_inner().row.unwrap();
        assert_eq!((approved.state(), approved.outcome()), (Q::Approved, RowOutcome::Applied));
        assert_eq!((approved.decided_by.as_str(), approved.decision_reason.as_str()), ("eva", "a delivery came"));
        assert!(approved.decide_time.is_some());
    }
    assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=999 CUP=8", landed + 1));
    let other = wire::ApproveQuarantinedRowRequest { reason: "another".to_owned(), ..request.clone() };
    assert_eq!(reason(world.quarantine().approve_quarantined_row(other).await), R::KeyReused);
    assert_eq!(reason(world.approve_row(&row.quarantine_id, None).await), R::AlreadyDecided);
    assert_eq!(reason(world.reject_row(&row.quarantine_id).await), R::AlreadyDecided);
    // The next file says the same, which is no jump any more.
    let run = world.upload(2, "a=999 b=8").await;
    assert_eq!(totals(&run), [2, 0, 2, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_number_changes_nothing_and_waits_again_when_it_is_said_again() {
    let world = shop().await;
    world.upload(1, "a=999 b=8").await;
    let calls = world.peers.landed();
    let rejected = world.reject_row(&world.waiting().await.quarantine_id).await.unwrap();
    assert_eq!((rejected.state(), rejected.outcome()), (Q::Rejected, RowOutcome::Unspecified));
    assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=150 CUP=8", calls));
    world.upload(2, "a=999 b=8").await;
    assert_eq!(world.waiting().await.old_quantity, Some(150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_number_that_looks_like_a_slip_caps_the_offer_until_it_is_decided() {
    let world = shop().await;
    let run = world.upload(1, "a=15 b=8").await;
    assert_eq!(world.report(&run).await, "2:a:Quarantined 3:b:Unchanged");
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=150 CUP=8", Some(15)));
    let row = world.waiting().await;
    assert_eq!((row.exposure, row.rules.as_slice()), (0, &["R5".to_owned()][..]));
    world.reject_row(&row.quarantine_id).await.unwrap();
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=150 CUP=8", Some(150)));

    world.upload(2, "a=15 b=8").await;
    let approved = world.approve_row(&world.waiting().await.quarantine_id, None).await.unwrap();
    assert_eq!(approved.outcome(), RowOutcome::Applied);
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=15 CUP=8", Some(15)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_compared_with_what_is_left_after_the_orders_that_it_reflects() {
    let world = World::new().await;
    world.offers("a:CHAIR b:CUP c:LAMP");
    let available = wire::Connection {
        meaning: wire::QuantityMeaning::Available.into(),
        ..crate::world::connection(FeedMode::Full)
    };
    world.create(available).await.unwrap();
    let first = world.upload(0, "a=100 b=150 c=100").await;
    let noon = first.as_of_time.unwrap().seconds;
    for (sku, units, since) in [("CHAIR", 80, noon + 30), ("CUP", 135, noon + 60), ("LAMP", 80, noon + 61)] {
        world.peers.sell(sku, BERLIN, units, pb::CountMeaning::Available, since);
    }
    world.peers.sell("LAMP", BERLIN, 80, pb::CountMeaning::OnHand, noon);
    // A minute later 80 chairs and 135 cups were booked; the lamps a second later, and shipped ones do not matter here.
    let run = world.upload(1, "a=100 b=15 c=100").await;
    assert_eq!(world.report(&run).await, "2:a:Quarantined 3:b:Applied 4:c:Unchanged");
    let row = world.waiting().await;
    assert_eq!(
        (row.old_quantity, row.new_quantity, row.exposure, row.rules.as_slice()),
        (Some(100), Some(100), 80, &["R2".to_owned()][..])
    );
    assert!(row.explanation.contains("there were 100, and 80 sold since are off them"), "{}", row.explanation);
    assert_eq!(world.stock(), "CHAIR=100 CUP=15 LAMP=100");
    // What a person believes is the number itself; what it reflects is off it from then on.
    world.approve_row(&row.quarantine_id, None).await.unwrap();
    let again = world.upload(2, "a=100 b=15 c=20").await;
    assert_eq!(world.report(&again).await, "2:a:Unchanged 3:b:Unchanged 4:c:Applied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_below_what_is_expected_limits_the_offer_to_the_number_that_was_said() {
    let world = shop().await;
    let since = world.upload(1, "a=150 b=8").await.as_of_time.unwrap().seconds;
    world.peers.sell("CHAIR", BERLIN, 20, pb::CountMeaning::OnHand, since + 1);
    world.upload(2, "a=13 b=8").await;
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=150 CUP=8", Some(13)));
    let row = world.waiting().await;
    assert_eq!((row.old_quantity, row.new_quantity, row.exposure), (Some(150), Some(13), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_number_is_believed_by_itself_after_a_cadence() {
    let world = World::new().await;
    world.offers("a:CHAIR");
    let connection = wire::Connection {
        cadence: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..crate::world::connection(FeedMode::Full)
    };
    world.create(connection).await.unwrap();
    world.upload(0, "a=150").await;
    world.upload(1, "a=15").await;
    assert_eq!(world.waiting().await.state(), Q::Pending);
    let admin = world.database.admin_pool().await;
    let due =
        "SELECT round(extract(epoch FROM believe_time - create_time))::text FROM quarantined WHERE state = 'PENDING'";
    assert_eq!(sqlx::query_scalar::<_, String>(due).fetch_one(&admin).await.unwrap(), "60");
    // Said again, it is not believed later than it would have been.
    sqlx::query("UPDATE quarantined SET believe_time = believe_time - interval '30 s'").execute(&admin).await.unwrap();
    let moment = "SELECT max(believe_time)::text FROM quarantined WHERE state = 'PENDING'";
    let first: String = sqlx::query_scalar(moment).fetch_one(&admin).await.unwrap();
    world.upload(2, "a=15").await;
    assert_eq!(sqlx::query_scalar::<_, String>(moment).fetch_one(&admin).await.unwrap(), first);
    sqlx::query("UPDATE quarantined SET believe_time = clock_timestamp()").execute(&admin).await.unwrap();
    eventually("the lower number is believed", PATIENCE, || async { (world.stock() == "CHAIR=15").then_some(()) })
        .await;
    let approved = eventually("it is said so", PATIENCE, || async {
        world.quarantined(Q::Approved).await.into_iter().find(|row| row.outcome() == RowOutcome::Applied)
    })
    .await;
    assert_eq!(approved.decided_by, "holdfast");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_number_of_the_code_takes_the_place_of_one_that_waits_good_or_not() {
    let world = shop().await;
    world.upload(1, "a=999 b=8").await;
    let first = world.waiting().await;
    world.upload(2, "a=9999 b=8").await;
    let second = world.waiting().await;
    assert_ne!(first.quarantine_id, second.quarantine_id);
    world.upload(3, "a=149 b=8").await;
    assert_eq!(world.quarantined(Q::Pending).await, []);
    let superseded = world.quarantined(Q::Superseded).await;
    assert_eq!(
        superseded.iter().map(|row| &row.quarantine_id).collect::<Vec<_>>(),
        [&second.quarantine_id, &first.quarantine_id]
    );
    assert_eq!(reason(world.approve_row(&first.quarantine_id, None).await), R::AlreadyDecided);
    assert_eq!(world.stock(), "CHAIR=149 CUP=8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_replaced_by_what_the_next_number_that_waits_leaves_on_offer() {
    let world = shop().await;
    world.upload(1, "a=15 b=8").await;
    assert_eq!(world.peers.offered("CHAIR", BERLIN), Some(15));
    world.upload(2, "a=1500 b=8").await;
    assert_eq!(world.peers.offered("CHAIR", BERLIN), Some(150), "the lower of 150 and 1500");
    world.reject_row(&world.waiting().await.quarantine_id).await.unwrap();
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=150 CUP=8", Some(150)));
    assert!(world.peers.stock.lock().unwrap().rows.values().all(|row| row.limit.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_can_be_read_in_two_ways_waits_for_somebody_who_says_which() {
    let world = shop().await;
    let run = world.upload(1, "a=1.500 b=8").await;
    assert_eq!(world.report(&run).await, "2:a:Quarantined 3:b:Unchanged");
    let row = world.waiting().await;
    assert_eq!((row.old_quantity, row.new_quantity, row.rules.as_slice()), (Some(150), None, &["R1".to_owned()][..]));
    assert_eq!(violations(world.approve_row(&row.quarantine_id, None).await).0, ["quantity"]);
    assert_eq!(violations(world.approve_row(&row.quarantine_id, Some(-1)).await).0, ["quantity"]);
    world.approve_row(&row.quarantine_id, Some(151)).await.unwrap();
    assert_eq!(world.stock(), "CHAIR=151 CUP=8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_for_one_code_of_a_sku_counts_the_others_in() {
    let world = World::feed(FeedMode::Full, "single:CUP dozen:CUP*12").await;
    world.upload(0, "single=50 dozen=2").await;
    let run = world.upload(1, "single=999 dozen=3").await;
    assert_eq!(world.report(&run).await, "2:single:Quarantined 3:dozen:Applied");
    assert_eq!(world.stock(), "CUP=86");
    world.approve_row(&world.waiting().await.quarantine_id, None).await.unwrap();
    assert_eq!(world.stock(), "CUP=1035");
    // Both wait, one of them with a lower number: the SKU is limited until that one is decided, too.
    world.upload(2, "single=9999 dozen=3").await;
    world.upload(3, "single=9999 dozen=30").await;
    assert_eq!(world.quarantined(Q::Pending).await.len(), 2);
    assert_eq!(world.stock(), "CUP=1035");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_number_is_stale_where_a_newer_count_was_taken_meanwhile() {
    let world = shop().await;
    world.upload(1, "a=999 b=8").await;
    let newer = pb::ApplyCountsRequest {
        as_of_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        request_id: id(),
        ..world.peers.stock.lock().unwrap().landed[0].clone()
    };
    let stock = channel(&format!("http://{}", world.peers.serve().await));
    let mut stock = pb::stock_service_client::StockServiceClient::new(stock);
    stock.apply_counts(newer).await.unwrap();
    let approved = world.approve_row(&world.waiting().await.quarantine_id, None).await.unwrap();
    assert_eq!((approved.state(), approved.outcome()), (Q::Approved, RowOutcome::Stale));
    assert_eq!(world.peers.on_hand("CHAIR", BERLIN), Some(150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_people_who_decide_at_once_one_does() {
    let world = shop().await;
    world.upload(1, "a=999 b=8").await;
    let (row, landed) = (world.waiting().await, world.peers.landed());
    let mut set = JoinSet::new();
    for person in 0..10 {
        let (mut client, quarantine_id) = (world.quarantine(), row.quarantine_id.clone());
        set.spawn(async move {
            let (request_id, actor, reason) = (id(), format!("person {person}"), "sure".to_owned());
            if person % 2 == 0 {
                let request =
                    wire::ApproveQuarantinedRowRequest { request_id, quarantine_id, actor, reason, quantity: None };
                client.approve_quarantined_row(request).await.map(|answer| answer.into_inner().row)
            } else {
                let request = wire::RejectQuarantinedRowRequest { request_id, quarantine_id, actor, reason };
                client.reject_quarantined_row(request).await.map(|answer| answer.into_inner().row)
            }
        });
    }
    let mut decided = Vec::new();
    while let Some(answer) = set.join_next().await {
        match answer.unwrap() {
            Ok(row) => decided.push(row.unwrap()),
            Err(status) => assert_eq!(reason::<()>(Err(status)), R::AlreadyDecided),
        }
    }
    let [decided] = decided.as_slice() else { panic!("one decision, not {}", decided.len()) };
    let (stock, calls) =
        if decided.state() == Q::Approved { ("CHAIR=999 CUP=8", landed + 1) } else { ("CHAIR=150 CUP=8", landed) };
    assert_eq!((world.stock().as_str(), world.peers.landed()), (stock, calls));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_a_decision_is_carried_out_carries_it_out_once() {
    for lost in [false, true] {
        let mut world = shop().await;
        world.upload(1, "a=999 b=8").await;
        let (row, landed) = (world.waiting().await, world.peers.landed());
        world.shutdown.cancel();
        (&mut world.served).await.unwrap().unwrap();

        // Either the call waits at reservation when the process is killed, or it has landed and its answer is lost again and again.
        world.peers.let_through(if lost { 1 } else { 0 });
        world.peers.faults.lost_answers.store(usize::from(lost), std::sync::atomic::Ordering::SeqCst);
        let mut process = Killable::start(&world).await;
        (world.address, world.client) = (process.address.clone(), client(&process.address));
        let (mut client, quarantine_id) = (world.quarantine(), row.quarantine_id.clone());
        let approve = tokio::spawn(async move {
            let (request_id, actor, reason) = (id(), "eva".to_owned(), "sure".to_owned());
            let request =
                wire::ApproveQuarantinedRowRequest { request_id, quarantine_id, actor, reason, quantity: None };
            client.approve_quarantined_row(request).await
        });
        eventually("the call is at reservation", PATIENCE, || async { (world.peers.waiting() > 0).then_some(()) })
            .await;
        process.kill().await;
        assert!(approve.await.unwrap().is_err(), "nobody was told that it is done");
        world.peers.let_through(1000);
        world.start_again().await;
        eventually("the decision is carried out", PATIENCE, || async {
            world.quarantined(Q::Approved).await.into_iter().find(|row| row.outcome() == RowOutcome::Applied)
        })
        .await;
        assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=999 CUP=8", landed + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_filtered_and_comes_in_pages() {
    let world = World::feed(FeedMode::Full, "a:A b:B c:C d:D e:E").await;
    world.upload(0, "a=150 b=150 c=150 d=150 e=150").await;
    let run = world.upload(1, "a=999 b=999 c=999 d=999 e=150").await;
    let mut client = world.quarantine();
    let mut request =
        wire::ListQuarantinedRowsRequest { page_size: 3, run_id: run.run_id.clone(), ..Default::default() };
    let first = client.list_quarantined_rows(request.clone()).await.unwrap().into_inner();
    request.page_token = first.next_page_token;
    let other = wire::ListQuarantinedRowsRequest { sku: "A".to_owned(), ..request.clone() };
    assert_eq!(reason(client.list_quarantined_rows(other).await), R::InvalidPageToken);
    let second = client.list_quarantined_rows(request).await.unwrap().into_inner();
    assert_eq!((first.rows.len(), second.rows.len(), second.next_page_token.as_str()), (3, 1, ""));
    let mut skus: Vec<String> = first.rows.into_iter().chain(second.rows).map(|row| row.sku).collect();
    skus.sort_unstable();
    assert_eq!(skus, ["A", "B", "C", "D"]);
    let of = |sku: &str, connection: &str| wire::ListQuarantinedRowsRequest {
        sku: sku.to_owned(),
        connection: connection.to_owned(),
        ..Default::default()
    };
    assert_eq!(client.list_quarantined_rows(of("B", "acme-berlin")).await.unwrap().into_inner().rows.len(), 1);
    assert_eq!(client.list_quarantined_rows(of("B", "nobody")).await.unwrap().into_inner().rows.len(), 0);
    let wrong = wire::ListQuarantinedRowsRequest {
        page_size: -1,
        state: 99,
        connection: "a b".to_owned(),
        run_id: "x".to_owned(),
        ..Default::default()
    };
    assert_eq!(violations(client.list_quarantined_rows(wrong).await).0, ["page_size", "state", "connection", "run_id"]);
    let unknown = wire::GetQuarantinedRowRequest { quarantine_id: id() };
    assert_eq!(reason(client.get_quarantined_row(unknown).await), R::NotFound);
    assert_eq!(reason(world.approve_row(&id(), None).await), R::NotFound);
    let empty = wire::RejectQuarantinedRowRequest::default();
    assert_eq!(
        violations(client.reject_quarantined_row(empty).await).0,
        ["request_id", "quarantine_id", "actor", "reason"]
    );
}

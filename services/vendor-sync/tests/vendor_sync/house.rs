//! What the shop's own people type: counts and adjustments, with the same guards as a vendor's numbers.

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::reservation::v1::CountMeaning;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::{HouseCondition, HouseReason, QuarantineState as Q, RowOutcome, RunState};
use prost_types::Timestamp;
use tonic::Status;

use crate::world::{BERLIN, World, file, id, reason, spec, subjects, totals, violations};

/// Counts such as `"CHAIR=3 CUP=5"` at Berlin.
fn counts(counts: &str) -> wire::SubmitCountsRequest {
    let count = |count: &str| {
        let (sku, rest) = count.split_once('=').unwrap();
        let (quantity, expected) = rest.split_once('/').map_or((rest, None), |(quantity, seen)| (quantity, Some(seen)));
        wire::HouseCount {
            sku: sku.to_owned(),
            quantity: quantity.parse().unwrap(),
            expected_quantity: expected.map(|seen| seen.parse().unwrap()),
            overwrite: expected.is_none(),
        }
    };
    wire::SubmitCountsRequest {
        request_id: id(),
        location: BERLIN.to_owned(),
        counts: counts.split_whitespace().map(count).collect(),
        actor: "eva".to_owned(),
        ..Default::default()
    }
}

async fn submit(world: &World, request: wire::SubmitCountsRequest) -> Result<wire::SubmitCountsResponse, Status> {
    world.house().submit_counts(request).await.map(tonic::Response::into_inner)
}

fn outcomes(answer: &wire::SubmitCountsResponse) -> Vec<(String, RowOutcome)> {
    answer.rows.iter().map(|row| (row.vendor_sku.clone(), row.outcome())).collect()
}

fn adjust(sku: &str, condition: HouseCondition, delta: i64, reason: HouseReason) -> wire::HouseAdjustment {
    wire::HouseAdjustment {
        sku: sku.to_owned(),
        location: BERLIN.to_owned(),
        condition: condition.into(),
        delta,
        reason: reason.into(),
    }
}

fn adjustments(adjustments: &[wire::HouseAdjustment]) -> wire::SubmitAdjustmentsRequest {
    wire::SubmitAdjustmentsRequest {
        request_id: id(),
        adjustments: adjustments.to_vec(),
        actor: "eva".to_owned(),
        note: "shelf 7".to_owned(),
    }
}

async fn make(
    world: &World,
    request: wire::SubmitAdjustmentsRequest,
) -> Result<wire::SubmitAdjustmentsResponse, Status> {
    world.house().submit_adjustments(request).await.map(tonic::Response::into_inner)
}

fn seconds_ago(seconds: u64) -> Option<Timestamp> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Some(Timestamp { seconds: (now - seconds).try_into().unwrap(), nanos: 0 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_counted_is_applied_and_answered_row_by_row_once() {
    let world = World::new().await;
    let request = counts("CHAIR=3 CUP=5");
    let first = submit(&world, request.clone()).await.unwrap();
    let run = first.run.clone().unwrap();
    assert_eq!((run.state(), run.connection.as_str(), run.location.as_str()), (RunState::Applied, "house", BERLIN));
    assert_eq!((run.origin(), totals(&run)), (wire::RunOrigin::Typed, [2, 2, 0, 0, 0, 0]));
    assert_eq!(outcomes(&first), [("CHAIR".to_owned(), RowOutcome::Applied), ("CUP".to_owned(), RowOutcome::Applied)]);
    let again = submit(&world, request.clone()).await.unwrap();
    assert_eq!((again.run, again.replayed, first.replayed), (first.run, true, false));
    assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=3 CUP=5", 1));
    let other = wire::SubmitCountsRequest { note: "again".to_owned(), ..request };
    assert_eq!(reason(submit(&world, other).await), R::KeyReused);
    assert!(world.peers.stock.lock().unwrap().completed.is_empty(), "the house promises nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_999_that_was_typed_for_150_waits_whether_or_not_there_was_stock_before() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 150);
    let answer = submit(&world, counts("CHAIR=999 NEW=999 MANY=1500 CUP=5")).await.unwrap();
    let expected = [
        ("CHAIR", RowOutcome::Quarantined),
        ("NEW", RowOutcome::Quarantined),
        ("MANY", RowOutcome::Quarantined),
        ("CUP", RowOutcome::Applied),
    ];
    assert_eq!(outcomes(&answer), expected.map(|(sku, outcome)| (sku.to_owned(), outcome)));
    assert_eq!(world.stock(), "CHAIR=150 CUP=5");
    let rows = world.quarantined(Q::Pending).await;
    let chair = rows.iter().find(|row| row.sku == "CHAIR").unwrap();
    assert_eq!((chair.old_quantity, chair.typed_by.as_str(), chair.location.as_str()), (Some(150), "eva", BERLIN));
    let approved = world.approve_row(&chair.quarantine_id, Some(151)).await.unwrap();
    assert_eq!((approved.outcome(), world.peers.on_hand("CHAIR", BERLIN)), (RowOutcome::Applied, Some(151)));
    // Typed again with what is right, the one that waits is replaced.
    submit(&world, counts("NEW=9")).await.unwrap();
    assert_eq!(world.quarantined(Q::Superseded).await[0].sku, "NEW");
    assert_eq!(world.peers.on_hand("NEW", BERLIN), Some(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendors_number_is_compared_with_what_the_shop_counted_since() {
    let world = World::feed(wire::FeedMode::Partial, "c:CHAIR u:CUP").await;
    world.upload(1, "c=2400 u=50").await;
    submit(&world, counts("CHAIR=150")).await.unwrap();
    // Said again it is the vendor's number, not what is there.
    let now = wire::UploadFeedSpec { as_of_time: seconds_ago(0), ..spec(2) };
    let run = world.upload_as(now, file("c=2400 u=51")).await.unwrap().run.unwrap();
    let run = world.finished(&run.run_id).await;
    assert_eq!(run.totals.unwrap().quarantined, 1, "{run:?}");
    let waits = world.waiting().await;
    assert_eq!((waits.sku.as_str(), waits.old_quantity, waits.new_quantity), ("CHAIR", Some(150), Some(2400)));
    assert_eq!(world.stock(), "CHAIR=150 CUP=51");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_of_one_location_replaces_nothing_that_waits_at_another() {
    let world = World::new().await;
    submit(&world, counts("CHAIR=999")).await.unwrap();
    submit(&world, wire::SubmitCountsRequest { location: "ulm".to_owned(), ..counts("CHAIR=9") }).await.unwrap();
    assert_eq!(world.waiting().await.location, BERLIN);
    assert_eq!(world.peers.on_hand("CHAIR", "ulm"), Some(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenth_typed_by_mistake_limits_the_offer_until_it_is_decided() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 150);
    submit(&world, counts("CHAIR=15")).await.unwrap();
    assert_eq!((world.stock().as_str(), world.peers.offered("CHAIR", BERLIN)), ("CHAIR=150", Some(15)));
    world.reject_row(&world.waiting().await.quarantine_id).await.unwrap();
    assert_eq!(world.peers.offered("CHAIR", BERLIN), Some(150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_one_moment_are_taken_in_the_order_in_which_they_came_and_older_ones_not_at_all() {
    let world = World::new().await;
    let at = |rows: &str, as_of_time| wire::SubmitCountsRequest { as_of_time, ..counts(rows) };
    let moment = seconds_ago(100);
    submit(&world, at("CHAIR=3", moment)).await.unwrap();
    submit(&world, at("CHAIR=4", moment)).await.unwrap();
    assert_eq!(world.stock(), "CHAIR=4");
    let older = submit(&world, at("CHAIR=9", seconds_ago(200))).await.unwrap();
    assert_eq!(outcomes(&older), [("CHAIR".to_owned(), RowOutcome::Stale)]);
    submit(&world, counts("CHAIR=5")).await.unwrap();
    assert_eq!(world.stock(), "CHAIR=5");
    for wrong in [seconds_ago(8 * 86_400), Some(Timestamp { seconds: 4_000_000_000, nanos: 0 })] {
        assert_eq!(violations(submit(&world, at("CHAIR=1", wrong)).await).0, ["as_of_time"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_taken_only_beside_what_the_person_saw_and_its_neighbours_all_the_same() {
    let world = World::new().await;
    for (sku, on_hand) in [("CHAIR", 10), ("CUP", 5), ("TABLE", 3)] {
        world.peers.put(sku, BERLIN, on_hand);
    }
    let request = counts("CHAIR=12/10 CUP=6/4 TABLE=4 NEW=2/0 GONE=7/7");
    let first = submit(&world, request.clone()).await.unwrap();
    let expected = [
        ("CHAIR", RowOutcome::Applied),
        ("CUP", RowOutcome::Conflict),
        ("TABLE", RowOutcome::Applied),
        ("NEW", RowOutcome::Applied),
        ("GONE", RowOutcome::Conflict),
    ];
    assert_eq!(outcomes(&first), expected.map(|(sku, outcome)| (sku.to_owned(), outcome)));
    assert_eq!(world.stock(), "CHAIR=12 CUP=5 NEW=2 TABLE=4");
    assert_eq!((first.rows[1].previous_on_hand, first.rows[1].quantity), (5, 6));
    assert!(first.rows[1].note.contains("5 are on hand, not the 4"), "{}", first.rows[1].note);
    let run = first.run.clone().unwrap();
    assert_eq!((run.state(), totals(&run)), (RunState::Applied, [5, 3, 0, 0, 0, 2]), "what was not taken is rejected");
    let again = submit(&world, request.clone()).await.unwrap();
    assert_eq!((again.run, again.rows, again.replayed), (first.run, first.rows, true), "its own effect is no conflict");
    assert!(world.quarantined(Q::Pending).await.is_empty(), "a conflict waits for nobody");
    let rows = wire::ListRunRowsRequest {
        run_id: run.run_id.clone(),
        outcome: RowOutcome::Conflict.into(),
        ..Default::default()
    };
    let rows = world.client.clone().list_run_rows(rows).await.unwrap().into_inner().rows;
    assert_eq!(rows.iter().map(|row| row.sku.as_str()).collect::<Vec<_>>(), ["CUP", "GONE"]);
    // With another expectation it is another count, and another request.
    let mended = wire::SubmitCountsRequest { request_id: request.request_id, ..counts("CHAIR=12/10 CUP=6/5") };
    assert_eq!(reason(submit(&world, mended).await), R::KeyReused);
    let mended = submit(&world, counts("CUP=6/5")).await.unwrap();
    assert_eq!(outcomes(&mended), [("CUP".to_owned(), RowOutcome::Applied)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_counts_says_what_was_there_or_that_it_does_not_matter() {
    let world = World::new().await;
    let with = |expected_quantity, overwrite| {
        let count = wire::HouseCount { sku: "CHAIR".to_owned(), quantity: 3, expected_quantity, overwrite };
        wire::SubmitCountsRequest { counts: vec![count], ..counts("CHAIR=3") }
    };
    for (expected, overwrite) in
        [(None, false), (Some(3), true), (Some(0), true), (Some(-1), false), (Some(1_000_000_001), false)]
    {
        let refused = violations(submit(&world, with(expected, overwrite)).await);
        assert_eq!(refused.0, ["counts[0].expected_quantity"], "{expected:?} {overwrite}");
    }
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
    submit(&world, with(Some(0), false)).await.unwrap();
    submit(&world, with(Some(3), false)).await.unwrap();
    assert_eq!(world.stock(), "CHAIR=3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_people_who_saw_the_same_and_count_at_once_one_is_told_to_look_again() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 10);
    let (one, other) = tokio::join!(submit(&world, counts("CHAIR=12/10")), submit(&world, counts("CHAIR=9/10")));
    let mut seen = [one.unwrap().rows[0].outcome(), other.unwrap().rows[0].outcome()];
    seen.sort();
    // Whichever was counted later conflicts; one that was counted earlier and comes later is older than the row.
    assert!(
        matches!(seen, [RowOutcome::Applied, RowOutcome::Conflict | RowOutcome::Stale]),
        "exactly one is taken: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_approves_a_stopped_count_has_the_last_word_whatever_was_expected() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 150);
    // The guards look first: what is stopped is not sent, so it cannot conflict.
    let answer = submit(&world, counts("CHAIR=999/140")).await.unwrap();
    assert_eq!(outcomes(&answer), [("CHAIR".to_owned(), RowOutcome::Quarantined)]);
    world.peers.put("CHAIR", BERLIN, 145);
    let approved = world.approve_row(&world.waiting().await.quarantine_id, Some(160)).await.unwrap();
    assert_eq!((approved.outcome(), world.stock().as_str()), (RowOutcome::Applied, "CHAIR=160"));
    assert_eq!(world.peers.stock.lock().unwrap().landed[0].counts[0].expected_on_hand, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shipped_is_not_missing_from_a_shelf() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 150);
    world.peers.sell("CHAIR", BERLIN, 135, CountMeaning::OnHand, 0);
    let answer = submit(&world, counts("CHAIR=15/150")).await.unwrap();
    assert_eq!(outcomes(&answer), [("CHAIR".to_owned(), RowOutcome::Applied)], "135 were shipped: no slip of the hand");
    world.peers.put("CUP", BERLIN, 100);
    world.peers.sell("CUP", BERLIN, 80, CountMeaning::OnHand, 0);
    submit(&world, counts("CUP=100/100")).await.unwrap();
    let row = world.waiting().await;
    assert_eq!((row.sku.as_str(), row.old_quantity, row.exposure), ("CUP", Some(100), 80));
    assert_eq!(world.stock(), "CHAIR=15 CUP=100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_catalog_does_not_know_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let unknown = submit(&world, counts("CHAIR=3 unknown-sku=1")).await.unwrap_err();
    assert!(unknown.message().starts_with("counts[1].sku"), "{}", unknown.message());
    assert_eq!(reason::<()>(Err(unknown)), R::UnknownSku);
    let nowhere = wire::SubmitCountsRequest { location: "unknown-place".to_owned(), ..counts("CHAIR=3") };
    let refused = submit(&world, nowhere).await.unwrap_err();
    assert_eq!(subjects(&refused), ["location/unknown-place"]);
    let wrong = wire::SubmitCountsRequest { actor: String::new(), request_id: String::new(), ..counts("A=1 A=-2") };
    assert_eq!(
        violations(submit(&world, wrong).await).0,
        ["request_id", "actor", "counts[1].quantity", "counts[1].sku"]
    );
    assert_eq!(world.number("SELECT count(*) FROM run").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_stock_is_uploaded_as_a_file_of_the_house() {
    let world = World::new().await;
    let spec = wire::UploadFeedSpec {
        connection: "house".to_owned(),
        location: BERLIN.to_owned(),
        actor: "eva".to_owned(),
        ..spec(0)
    };
    let run =
        world.upload_as(spec.clone(), "sku,quantity\nCHAIR,150\nCUP,12000\nunknown-x,3\n").await.unwrap().run.unwrap();
    assert_eq!(world.report(&run).await, "2:CHAIR:Applied 3:CUP:Quarantined 4:unknown-x:Unmapped");
    assert_eq!((world.stock().as_str(), run.location.as_str()), ("CHAIR=150", BERLIN));
    // The same file for another place is another run.
    let ulm = wire::UploadFeedSpec { request_id: id(), location: "ulm".to_owned(), ..spec.clone() };
    let there = world.upload_as(ulm, "sku,quantity\nCHAIR,150\nCUP,12000\nunknown-x,3\n").await.unwrap();
    assert!(!there.replayed);
    assert_eq!(world.peers.on_hand("CHAIR", "ulm"), Some(150));
    let refused = wire::UploadFeedSpec { request_id: id(), ..spec.clone() };
    let refused = world.upload_as(refused, "code,stock,name\na,3,x\n").await.unwrap().run.unwrap();
    assert_eq!(refused.state(), RunState::Refused);
    let nowhere = wire::UploadFeedSpec { location: String::new(), actor: String::new(), ..spec.clone() };
    assert_eq!(violations(world.upload_as(nowhere, "").await).0, ["spec.location", "spec.actor"]);
    let vendors = wire::UploadFeedSpec { connection: "acme-berlin".to_owned(), ..spec };
    assert_eq!(violations(world.upload_as(vendors, "").await).0, ["spec.location", "spec.actor"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_damaged_returns_do_not_become_sellable() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 10);
    let request = adjustments(&[adjust("CHAIR", HouseCondition::Damaged, 3, HouseReason::Returned)]);
    let first = make(&world, request.clone()).await.unwrap();
    assert_eq!((first.levels[0].on_hand, first.levels[0].unsellable, first.replayed), (10, 3, false));
    let again = make(&world, request.clone()).await.unwrap();
    assert_eq!((again.levels, again.replayed), (first.levels, true));
    assert_eq!(world.peers.stock.lock().unwrap().adjusted.len(), 1);
    let other = wire::SubmitAdjustmentsRequest { note: "shelf 8".to_owned(), ..request };
    assert_eq!(reason(make(&world, other).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guard_stops_waits_as_a_whole_and_is_made_once_when_it_is_approved() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 150);
    let request = adjustments(&[
        adjust("CHAIR", HouseCondition::Sellable, 999, HouseReason::Received),
        adjust("CUP", HouseCondition::Sellable, 5, HouseReason::Received),
    ]);
    let first = make(&world, request.clone()).await.unwrap();
    let row = first.quarantined.clone().unwrap();
    assert_eq!((row.kind(), row.rules.as_slice()), (wire::QuarantineKind::Adjustment, &["R4".to_owned()][..]));
    assert_eq!((row.old_quantity, row.new_quantity, row.exposure), (Some(150), Some(1149), 999));
    assert_eq!((&row.adjustments, row.typed_by.as_str()), (&request.adjustments, "eva"));
    assert_eq!((first.levels.len(), world.stock().as_str()), (0, "CHAIR=150"));
    assert!(make(&world, request.clone()).await.unwrap().replayed);
    assert_eq!(violations(world.approve_row(&row.quarantine_id, Some(3)).await).0, ["quantity"]);
    let approved = world.approve_row(&row.quarantine_id, None).await.unwrap();
    assert_eq!((approved.state(), approved.outcome()), (Q::Approved, RowOutcome::Applied));
    assert_eq!(world.stock(), "CHAIR=1149 CUP=5");
    let made = world.peers.stock.lock().unwrap().adjusted[0].clone();
    assert_eq!((made.actor.as_str(), made.note.as_str()), ("eva", "shelf 7"));
    let again = make(&world, request).await.unwrap();
    assert_eq!((again.quarantined.unwrap().state(), world.stock().as_str()), (Q::Approved, "CHAIR=1149 CUP=5"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_adjustment_is_not_judged_by_the_stock_that_it_made() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 10);
    // The answer is lost on every attempt of the first call; the second one must not find 48 + 38 suspicious, nor add twice.
    let request = adjustments(&[adjust("CHAIR", HouseCondition::Sellable, 38, HouseReason::Found)]);
    world.peers.faults.lost_answers.store(1000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(reason(make(&world, request.clone()).await), R::StoreUnavailable);
    world.peers.faults.lost_answers.store(0, std::sync::atomic::Ordering::SeqCst);
    let again = make(&world, request).await.unwrap();
    assert_eq!((again.levels[0].on_hand, again.replayed, world.stock().as_str()), (48, true, "CHAIR=48"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_is_seen_whatever_is_typed_beside_it() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 10);
    let sellable = |delta, reason| adjust("CHAIR", HouseCondition::Sellable, delta, reason);
    for hidden in [
        [sellable(1, HouseReason::Received), sellable(900, HouseReason::Correction)],
        [sellable(999, HouseReason::Received), sellable(-1, HouseReason::Lost)],
    ] {
        let answer = make(&world, adjustments(&hidden)).await.unwrap();
        assert!(answer.quarantined.is_some(), "{hidden:?}");
    }
    let delivery = [sellable(-1, HouseReason::Lost), sellable(500, HouseReason::Received)];
    assert!(make(&world, adjustments(&delivery)).await.unwrap().quarantined.is_none());
    assert_eq!(world.peers.on_hand("CHAIR", BERLIN), Some(509));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reservation_refuses_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.peers.put("CHAIR", BERLIN, 2);
    let too_many = adjustments(&[
        adjust("CUP", HouseCondition::Sellable, 1, HouseReason::Found),
        adjust("CHAIR", HouseCondition::Sellable, -3, HouseReason::Lost),
    ]);
    assert_eq!(reason(make(&world, too_many).await), R::StockWouldBeNegative);
    let unknown = adjustments(&[adjust("unknown-sku", HouseCondition::Sellable, 1, HouseReason::Found)]);
    assert_eq!(reason(make(&world, unknown).await), R::UnknownSku);
    let wrong = wire::SubmitAdjustmentsRequest {
        adjustments: vec![wire::HouseAdjustment {
            delta: 0,
            location: BERLIN.to_owned(),
            sku: "A".to_owned(),
            ..Default::default()
        }],
        ..adjustments(&[])
    };
    let fields = ["adjustments[0].delta", "adjustments[0].condition", "adjustments[0].reason"];
    assert_eq!(violations(make(&world, wrong).await).0, fields);
    assert_eq!(world.stock(), "CHAIR=2");
}

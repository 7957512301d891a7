//! Watches of availability and of reservations: the whole, and then every change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason as R;
use holdfast_testkit::{eventually, seed};
use pb::ReservationEventKind as K;
use rand::Rng as _;
use sqlx::Executor as _;

use crate::watcher::{Events, Rows, end, next, watch_reservations, watch_rows};
use crate::world::{
    Options, World, ask, cancel, confirm, fulfil, id_of, key, portion, reason, release, seconds, test, test_with,
};

/// Small pages and quick checkpoints.
fn with(settings: &[(&'static str, &str)]) -> Options {
    let quick = [("WATCH__CHECKPOINT_MS", "200"), ("WATCH__PERIOD_MS", "20")];
    let settings = quick.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
    Options { settings, ..Options::default() }
}

#[test]
fn a_watch_shows_every_row_then_the_end_and_then_each_change_as_the_row_stands() {
    test_with(with(&[("WATCH__SNAPSHOT_ROWS_MAX", "2")]), async |world| {
        for sku in ["A", "B", "C"] {
            world.count_at(sku, "east", 5).await;
            world.count_at(sku, "west", 7).await;
        }
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], "").await.unwrap());
        rows.until_snapshot_end(&mut stream).await;
        assert_eq!((rows.told.len(), rows.total("A"), rows.total("B"), rows.total("C")), (6, 12, 12, 12));
        assert!(rows.told.iter().all(|row| row.change_time.is_none() && row.version == 1));
        rows.until_checkpoint(&mut stream).await;
        let id = world.hold("B", 7).await;
        rows.until(&mut stream, "the hold is told", |rows| rows.total("B") == 5).await;
        let changed = rows.told.last().unwrap().clone();
        assert_eq!((changed.version, changed.change_time.is_some()), (2, true));
        world.release(&id).await.unwrap();
        rows.until(&mut stream, "the release is told", |rows| rows.total("B") == 12).await;
        world.count_at("NEW", "east", 1).await;
        rows.until(&mut stream, "the new row is told", |rows| rows.total("NEW") == 1).await;
        rows.until_checkpoint(&mut stream).await;
        assert_eq!(rows.told.len(), 9, "only what changed came again: {:?}", rows.told);
    });
}

#[test]
fn a_row_that_is_short_is_told_as_empty_and_not_as_less() {
    test_with(with(&[]), async |world| {
        world.count("CHAIR", 5).await;
        world.hold("CHAIR", 4).await;
        world.count("CHAIR", 2).await;
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], "").await.unwrap());
        rows.until_snapshot_end(&mut stream).await;
        assert_eq!(rows.total("CHAIR"), 0);
        world.count("CHAIR", 1).await;
        world.count("CHAIR", 7).await;
        rows.until(&mut stream, "there are some again", |rows| rows.total("CHAIR") == 3).await;
        assert!(rows.told.iter().all(|row| row.available >= 0), "{:?}", rows.told);
    });
}

#[test]
fn what_one_transaction_did_is_told_whole_however_little_is_read_at_once() {
    test_with(with(&[("WATCH__ENTRIES_MAX", "2")]), async |world| {
        let skus = ["A", "B", "C", "D", "E"];
        let counted = |units| world.counts(skus.iter().map(|sku| (*sku, "main", units)).collect());
        world.stock().apply_counts(counted(9)).await.unwrap();
        let risk = [pb::ReservationEventKind::AtRisk];
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], "").await.unwrap());
        let (mut events, mut happens) =
            (Events::default(), watch_reservations(world.reservations(), "", &risk, "").await.unwrap());
        rows.until_snapshot_end(&mut stream).await;
        events.until_snapshot_end(&mut happens).await;
        for sku in skus {
            world.hold(sku, 1).await;
        }
        let before = rows.token.clone();
        world.stock().apply_counts(counted(0)).await.unwrap();
        let all = |rows: &Rows| skus.iter().all(|sku| rows.total(sku) == 0);
        rows.until(&mut stream, "every row of the count is told", all).await;
        events.until(&mut happens, "all who are at risk are told", |events| events.told.len() == 5).await;
        let (mut resumed, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], &before).await.unwrap());
        resumed.until(&mut stream, "also after a token from before", |rows| rows.known.len() == 5 && all(rows)).await;
    });
}

#[test]
fn a_watch_of_some_skus_tells_of_no_others_and_of_those_that_get_their_first_row() {
    test_with(with(&[]), async |world| {
        world.count("A", 5).await;
        world.count("B", 5).await;
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &["NEW", "A"], "").await.unwrap());
        rows.until_snapshot_end(&mut stream).await;
        world.hold("B", 1).await;
        world.hold("A", 1).await;
        world.count("NEW", 3).await;
        rows.until(&mut stream, "both are told", |rows| rows.total("A") == 4 && rows.total("NEW") == 3).await;
        rows.until_checkpoint(&mut stream).await;
        assert!(rows.known.keys().all(|(sku, _)| sku != "B"));
        // The order in which they are asked for, and that one is twice, is nobody's concern.
        let mut again = watch_rows(world.stock(), &["A", "NEW", "A"], &rows.token).await.unwrap();
        rows.until_checkpoint(&mut again).await;
    });
}

#[test]
fn a_token_goes_on_where_it_was_taken_also_in_the_middle_of_the_snapshot() {
    test_with(with(&[("WATCH__SNAPSHOT_ROWS_MAX", "3"), ("WATCH__ENTRIES_MAX", "2")]), async |world| {
        let codes: Vec<String> = (10..30).map(|number| format!("S{number}")).collect();
        let counts = codes.iter().map(|code| (code.as_str(), "main", 100)).collect();
        world.stock().apply_counts(world.counts(counts)).await.unwrap();
        for taken in [1, 3, 7, 20, 21] {
            let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], "").await.unwrap());
            for _ in 0..taken {
                rows.take(next(&mut stream).await.unwrap());
            }
            drop(stream);
            // What changes in between, in front of the token and behind it, is not missed.
            for sku in ["S10", "S29"] {
                world.hold(sku, 1).await;
            }
            let new = format!("S0{taken}");
            world.count(&new, taken).await;
            let mut stream = watch_rows(world.stock(), &[], &rows.token).await.unwrap();
            rows.until_snapshot_end(&mut stream).await;
            rows.until_checkpoint(&mut stream).await;
            for sku in ["S10", "S29", &new] {
                assert_eq!(rows.total(sku), world.on_offer(sku).await, "{sku} after {taken}");
            }
        }
    });
}

#[test]
fn a_change_that_commits_late_is_not_missed_and_holds_nobody_up() {
    test_with(with(&[]), async |world| {
        for sku in ["A", "B"] {
            world.count(sku, 10).await;
        }
        let admin = world.database.admin_pool().await;
        let mut late = admin.begin().await.unwrap();
        late.execute("UPDATE stock SET on_hand = on_hand + 5, version = version + 1 WHERE sku = 'A'").await.unwrap();
        let entry = "INSERT INTO ledger (sku, location, version, at, cause, cause_id, on_hand, reason, actor)
                     SELECT sku, location, version, clock_timestamp(), 'ADJUST', gen_random_uuid(), 5, 'FOUND', 'late' FROM stock WHERE sku = 'A'";
        late.execute(entry).await.unwrap();
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], "").await.unwrap());
        rows.until_snapshot_end(&mut stream).await;
        world.hold("B", 4).await;
        rows.until(&mut stream, "others are told meanwhile", |rows| rows.total("B") == 6).await;
        rows.until_checkpoint(&mut stream).await;
        assert_eq!(rows.total("A"), 10, "nothing uncommitted is told");
        let meanwhile = rows.token.clone();
        eventually("the open transaction is seen to be old", Duration::from_secs(20), || async {
            let age = world.metric(0, "holdfast_oldest_transaction_seconds").await;
            age.filter(|age| *age >= 1.0)
        })
        .await;
        late.commit().await.unwrap();
        rows.until(&mut stream, "what was committed late is told", |rows| rows.total("A") == 15).await;
        let (mut resumed, mut stream) = (Rows::default(), watch_rows(world.stock(), &[], &meanwhile).await.unwrap());
        resumed.until(&mut stream, "also after a token from before", |rows| rows.total("A") == 15).await;
        eventually("nothing old is open any more", Duration::from_secs(20), || async {
            world.metric(0, "holdfast_oldest_transaction_seconds").await.filter(|age| *age < 1.0)
        })
        .await;
    });
}

/// What buyers, counts and clocks do to a few SKUs.
async fn write(world: &World, seed: &holdfast_testkit::Seed, writer: u64, turns: usize) {
    let mut rng = seed.rng(writer);
    let mut holds: Vec<String> = Vec::new();
    for _ in 0..turns {
        let sku = ["A", "B", "C", "D"][rng.random_range(0..4)];
        match rng.random_range(0..6) {
            0 | 1 => {
                // Some end while others write, and some never.
                let hold_duration = seconds([1, 2, 600][rng.random_range(0..3)]);
                let request = pb::ReserveRequest { hold_duration, ..ask(&[(sku, rng.random_range(1..=3))]) };
                if let Ok(held) = world.reservations_of(rng.random_range(0..2)).reserve(request).await {
                    holds.push(id_of(&held.into_inner()));
                }
            }
            2 => drop(world.stock().apply_counts(world.counts(vec![(sku, "main", rng.random_range(5..40))])).await),
            3 if !holds.is_empty() => drop(world.confirm(&holds.swap_remove(rng.random_range(0..holds.len()))).await),
            4 if !holds.is_empty() => drop(world.release(&holds.swap_remove(rng.random_range(0..holds.len()))).await),
            _ => drop(world.reserve(sku, 1).await),
        }
    }
}

#[test]
fn a_watcher_that_comes_and_goes_knows_in_the_end_what_many_writers_left_and_nothing_that_never_was() {
    let seed = seed();
    let options = Options { replicas: 2, ..with(&[("WATCH__ENTRIES_MAX", "7"), ("WATCH__SNAPSHOT_ROWS_MAX", "2")]) };
    test_with(options, async |world| {
        for sku in ["A", "B", "C", "D"] {
            world.count(sku, 30).await;
        }
        let (mut rows, mut resumed) = (Rows::default(), 0);
        let writing = async {
            tokio::join!(write(world, &seed, 1, 60), write(world, &seed, 2, 60), write(world, &seed, 3, 60));
        };
        let mut rng = seed.rng(99);
        let watching = async {
            loop {
                let replica = rng.random_range(0..2);
                let mut stream = watch_rows(world.stock_of(replica), &[], &rows.token).await.unwrap();
                for _ in 0..rng.random_range(1..15) {
                    rows.take(next(&mut stream).await.unwrap());
                }
                resumed += 1;
            }
        };
        tokio::select! {
            () = writing => {}
            () = watching => {}
        }
        let swept = || async {
            (sqlx_number(
                world,
                "SELECT count(*) FROM reservation WHERE state = 'HELD' AND expires_at < now() + interval '60 s'",
            )
            .await
                == 0)
                .then_some(())
        };
        eventually("the short holds are over", Duration::from_secs(60), swept).await;
        let mut stream = watch_rows(world.stock(), &[], &rows.token).await.unwrap();
        rows.until_checkpoint(&mut stream).await;
        assert!(resumed > 3, "resumed {resumed} times");
        for sku in ["A", "B", "C", "D"] {
            assert_eq!(rows.total(sku), world.level(sku).await.available, "{sku}");
        }
        // Whatever was told, stood so in the record, at that version.
        let pool = world.database.admin_pool().await;
        let past = "SELECT version, greatest(0, sum(on_hand - held - committed - safety + backorder) OVER (ORDER BY version))::bigint FROM ledger WHERE sku = $1";
        for sku in ["A", "B", "C", "D"] {
            let past: BTreeMap<i64, i64> =
                sqlx::query_as::<_, (i64, i64)>(past).bind(sku).fetch_all(&pool).await.unwrap().into_iter().collect();
            for row in rows.told.iter().filter(|row| row.sku == sku) {
                assert_eq!(past.get(&row.version), Some(&row.available), "{row:?}");
            }
        }
    });
}

async fn sqlx_number(world: &World, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&world.database.admin_pool().await).await.unwrap()
}

#[test]
fn what_happens_to_reservations_is_told_to_those_who_asked_for_it_in_order() {
    test_with(with(&[("WATCH__ENTRIES_MAX", "3")]), async |world| {
        world.count("CHAIR", 100).await;
        world.count("TABLE", 100).await;
        let start = |owner: &'static str, kinds: &'static [K]| async move {
            let (mut events, mut stream) =
                (Events::default(), watch_reservations(world.reservations(), owner, kinds, "").await.unwrap());
            events.until_snapshot_end(&mut stream).await;
            (events, stream)
        };
        let (mut all, mut all_stream) = start("", &[]).await;
        let (mut ann, mut ann_stream) = start("ann", &[]).await;
        let (mut sold, mut sold_stream) = start("", &[K::Confirmed]).await;
        let hold = |owner: &'static str, last: i64| async move {
            let request = pb::ReserveRequest {
                owner: owner.into(),
                hold_duration: seconds(last),
                ..ask(&[("CHAIR", 1), ("TABLE", 2)])
            };
            id_of(&world.reservations().reserve(request).await.unwrap().into_inner())
        };
        let (bought, given, over) = (hold("ann", 60).await, hold("bob", 60).await, hold("ann", 1).await);
        world.confirm(&bought).await.unwrap();
        world.release(&given).await.unwrap();
        let wanted = [(K::Confirmed, bought.clone()), (K::Released, given), (K::Expired, over.clone())];
        all.until(&mut all_stream, "all is told", |events| events.told.len() >= 3).await;
        all.until_checkpoint(&mut all_stream).await;
        assert_eq!(all.happened(), wanted, "once for each, though each lies on two rows");
        let confirmed = all.told[0].reservation.as_ref().unwrap();
        assert_eq!((confirmed.state(), confirmed.lines.len()), (pb::ReservationState::Confirmed, 2));
        assert!(all.told.iter().all(|event| event.create_time.is_some() && event.shortage.is_none()));
        ann.until(&mut ann_stream, "ann's are told", |events| events.told.len() >= 2).await;
        assert_eq!(ann.happened(), [(K::Confirmed, bought.clone()), (K::Expired, over)]);
        sold.until(&mut sold_stream, "what was sold is told", |events| !events.told.is_empty()).await;
        assert_eq!(sold.happened(), [(K::Confirmed, bought)]);
    });
}

#[test]
fn what_becomes_of_a_sale_is_told_step_by_step() {
    test(async |world| {
        world.count("CHAIR", 100).await;
        let id = world.hold("CHAIR", 3).await;
        let mut stream = watch_reservations(world.reservations(), "", &[], "").await.unwrap();
        let mut events = Events::default();
        events.until_snapshot_end(&mut stream).await;
        world.confirm(&id).await.unwrap();
        world.reservations().fulfil(fulfil(&id, vec![portion("CHAIR", 2)])).await.unwrap();
        world.reservations().cancel(cancel(&id, vec![])).await.unwrap();
        let returned = pb::ReturnedPortion {
            portion: Some(portion("CHAIR", 1)),
            condition: pb::Condition::Damaged.into(),
            to_location: String::new(),
        };
        let back = pb::ReturnRequest {
            request_id: key(),
            reservation_id: id.clone(),
            returns: vec![returned],
            ..Default::default()
        };
        world.reservations().r#return(back).await.unwrap();
        let wanted = [K::Confirmed, K::Fulfilled, K::Cancelled, K::Returned].map(|kind| (kind, id.clone()));
        events.until(&mut stream, "all is told", |events| events.told.len() >= wanted.len()).await;
        assert_eq!(events.happened(), wanted);
        let last = events.told[3].reservation.as_ref().unwrap();
        assert_eq!(last.lines[0].allocations[0].returned_quantity, 1);
    });
}

#[test]
fn events_of_reservations_are_complete_beside_load_however_often_a_watch_is_resumed() {
    let seed = seed();
    let options = Options { replicas: 2, ..with(&[("WATCH__ENTRIES_MAX", "5")]) };
    test_with(options, async |world| {
        world.count("A", 1_000).await;
        world.count("B", 1_000).await;
        let mut events = Events::default();
        let buyer = |number: u64| {
            let mut rng = seed.rng(number);
            async move {
                let mut ended = BTreeSet::new();
                for _ in 0..40 {
                    let id =
                        id_of(&world.reservations().reserve(ask(&[("A", 1), ("B", 1)])).await.unwrap().into_inner());
                    let mut client = world.reservations_of(rng.random_range(0..2));
                    let kind = if rng.random_bool(0.7) {
                        client.confirm(confirm(&id)).await.unwrap();
                        K::Confirmed
                    } else {
                        client.release(release(&id)).await.unwrap();
                        K::Released
                    };
                    ended.insert((kind, id));
                }
                ended
            }
        };
        let buying = async { tokio::join!(buyer(1), buyer(2), buyer(3), buyer(4)) };
        let mut rng = seed.rng(99);
        let watching = async {
            loop {
                let replica = rng.random_range(0..2);
                let stream = watch_reservations(world.reservations_of(replica), "", &[], &events.token).await;
                let mut stream = stream.unwrap();
                for _ in 0..rng.random_range(1..20) {
                    events.take(next(&mut stream).await.unwrap());
                }
            }
        };
        let (a, b, c, d) = tokio::select! {
            done = buying => done,
            () = watching => unreachable!("it never ends"),
        };
        let mut stream = watch_reservations(world.reservations(), "", &[], &events.token).await.unwrap();
        events.until_checkpoint(&mut stream).await;
        let wanted: BTreeSet<_> = [a, b, c, d].into_iter().flatten().collect();
        assert_eq!(events.happened().into_iter().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(wanted.len(), 160);
    });
}

#[test]
fn tokens_that_are_none_of_another_watch_or_too_old_are_told_apart() {
    test_with(with(&[]), async |world| {
        world.count("A", 5).await;
        let (mut rows, mut stream) = (Rows::default(), watch_rows(world.stock(), &["A"], "").await.unwrap());
        let first = next(&mut stream).await.unwrap().resume_token;
        rows.until_snapshot_end(&mut stream).await;
        rows.until_checkpoint(&mut stream).await;
        drop(stream);
        for wrong in ["x", "größer", &first[..first.len() - 1], &"A".repeat(10_000)] {
            assert_eq!(reason(watch_rows(world.stock(), &["A"], wrong).await), R::InvalidResumeToken, "{wrong}");
        }
        for skus in [&[][..], &["B"], &["A", "B"]] {
            assert_eq!(reason(watch_rows(world.stock(), skus, &rows.token).await), R::InvalidResumeToken, "{skus:?}");
        }
        let other = watch_reservations(world.reservations(), "", &[], &rows.token).await;
        assert_eq!(reason(other), R::InvalidResumeToken);
        let (mut events, mut stream) =
            (Events::default(), watch_reservations(world.reservations(), "ann", &[K::Confirmed], "").await.unwrap());
        events.until_snapshot_end(&mut stream).await;
        for (owner, kinds) in [("", &[K::Confirmed][..]), ("bob", &[K::Confirmed]), ("ann", &[]), ("ann", &[K::AtRisk])]
        {
            let other = watch_reservations(world.reservations(), owner, kinds, &events.token).await;
            assert_eq!(reason(other), R::InvalidResumeToken, "{owner} {kinds:?}");
        }
        let admin = world.database.admin_pool().await;
        // As if retention had dropped what was written until now.
        let drop = "UPDATE record_incarnation SET dropped_xid = pg_snapshot_xmax(pg_current_snapshot())";
        sqlx::query(drop).execute(&admin).await.unwrap();
        for token in [&first, &rows.token] {
            let mut stream = watch_rows(world.stock(), &["A"], token).await.unwrap();
            assert_eq!(reason::<()>(Err(end(&mut stream).await)), R::ResumeTokenExpired);
        }
        sqlx::query("UPDATE record_incarnation SET dropped_xid = '0'").execute(&admin).await.unwrap();
        let mut open = watch_rows(world.stock(), &["A"], &rows.token).await.unwrap();
        rows.until_checkpoint(&mut open).await;
        // As whoever restores a backup does.
        sqlx::query("UPDATE record_incarnation SET id = gen_random_uuid()").execute(&admin).await.unwrap();
        assert_eq!(reason::<()>(Err(end(&mut open).await)), R::InvalidResumeToken, "a watch that was open, too");
        let mut stream = watch_rows(world.stock(), &["A"], &rows.token).await.unwrap();
        assert_eq!(reason::<()>(Err(end(&mut stream).await)), R::InvalidResumeToken);
        let (mut anew, mut stream) = (Rows::default(), watch_rows(world.stock(), &["A"], "").await.unwrap());
        anew.until_checkpoint(&mut stream).await;
        assert_eq!(anew.total("A"), 5);
    });
}

#[test]
fn malformed_watches_are_refused_with_all_their_fields() {
    test(async |world| {
        let many: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for skus in [&many[..], &["A", ""], &["\n"], &["x".repeat(129).as_str()]] {
            assert_eq!(reason(watch_rows(world.stock(), skus, "").await), R::InvalidField);
        }
        assert_eq!(reason(watch_reservations(world.reservations(), "\u{0}", &[], "").await), R::InvalidField);
        let kinds = [K::Confirmed, K::Unspecified];
        assert_eq!(reason(watch_reservations(world.reservations(), "", &kinds, "").await), R::InvalidField);
        let request = pb::WatchReservationsRequest { kinds: vec![99, -1], ..Default::default() };
        assert_eq!(reason(world.reservations().watch_reservations(request).await), R::InvalidField);
    });
}

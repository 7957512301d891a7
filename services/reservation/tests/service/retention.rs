//! How long the record is kept: partitions made ahead and dropped, finished reservations purged, and nothing lost that still counts.

mod openings;
mod purging;

use std::time::{Duration, Instant};

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use holdfast_reservation::store::{Store, StoreError, Subject};
use holdfast_testkit::eventually;
use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::world::{Options, World, all_at_once, ask, cancel, fulfil, id_of, key, portion, reason, test, test_with};

const WAIT: Duration = Duration::from_secs(30);
const DAY: u64 = 86_400;

/// Gives ledger and operation partitions that reach back for years, as if the janitor had been at work for so long. To be called before anything is written.
const PARTITIONS_OF_THE_PAST: &str = "
DO $$
DECLARE
    p record;
    s record;
    ends timestamptz;
BEGIN
    LOCK TABLE ledger, operation IN ACCESS EXCLUSIVE MODE;
    FOR p IN SELECT name FROM time_partition WHERE from_at IS NOT NULL LOOP
        EXECUTE format('DROP TABLE %I', p.name);
    END LOOP;
    DELETE FROM time_partition WHERE from_at IS NOT NULL;
    FOR s IN SELECT subject, width FROM retention WHERE width IS NOT NULL LOOP
        ends := to_timestamp(floor(extract(epoch FROM now()) / 86400) * 86400) - s.width * 20;
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', s.subject, s.subject || '_first');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', s.subject, s.subject || '_first',
                       CASE s.subject WHEN 'ledger' THEN ends::text ELSE uuid_floor(ends)::text END);
        UPDATE time_partition SET to_at = ends WHERE subject = s.subject;
    END LOOP;
    PERFORM make_partitions('28 days');
END
$$";

/// Makes everything that is written so many days older, keys included.
async fn age(world: &World, days: u64) {
    let script = format!(
        "CREATE FUNCTION pg_temp.aged(id uuid) RETURNS uuid LANGUAGE sql RETURN
             (lpad(to_hex(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint - {days}::bigint * 86400000), 12, '0')
              || substr(replace(id::text, '-', ''), 13))::uuid;
         BEGIN;
         UPDATE ledger SET at = at - interval '{days} days',
                cause_id = CASE WHEN cause_id IN (SELECT id FROM reservation) THEN pg_temp.aged(cause_id) ELSE cause_id END;
         UPDATE reservation SET id = pg_temp.aged(id), created_at = created_at - interval '{days} days', state_at = state_at - interval '{days} days',
                expires_at = expires_at - interval '{days} days', first_expires_at = first_expires_at - interval '{days} days';
         UPDATE allocation SET reservation_id = pg_temp.aged(reservation_id);
         UPDATE progress SET reservation_id = pg_temp.aged(reservation_id), known_at = known_at - interval '{days} days', known_until = known_until - interval '{days} days',
                evidence = coalesce((SELECT jsonb_agg(jsonb_build_array(e -> 0, e -> 1, (e ->> 2)::bigint - {days}::bigint * 86400000000)) FROM jsonb_array_elements(evidence) e), '[]');
         UPDATE at_risk SET reservation_id = pg_temp.aged(reservation_id), at = at - interval '{days} days';
         UPDATE operation SET request_id = pg_temp.aged(request_id), created_at = created_at - interval '{days} days';
         UPDATE stock SET count_as_of = count_as_of - interval '{days} days';
         COMMIT"
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&world.database.admin_pool().await)
        .await
        .expect("everything is older");
}

/// The key that a key became.
fn aged(id: &str, days: u64) -> String {
    let bits = uuid::Uuid::parse_str(id).unwrap().as_u128();
    uuid::Uuid::from_u128(bits - (u128::from(days * DAY * 1_000) << 80)).to_string()
}

async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query(query).fetch_one(pool).await.unwrap().get(0)
}

fn often(period_ms: u64) -> Vec<(&'static str, String)> {
    vec![("RETENTION__PERIOD_MS", period_ms.to_string()), ("RETENTION__PURGE_PAUSE_MS", "1".to_owned())]
}

/// And nobody is the janitor until [`let_the_janitor_work`].
async fn with_partitions_of_the_past(world: &World) -> PgPool {
    let admin = world.database.admin_pool().await;
    let nobody = "UPDATE janitor SET holder = gen_random_uuid(), until = 'infinity'";
    sqlx::query(nobody).execute(&admin).await.expect("the lease is taken");
    let mut making = admin.begin().await.expect("a transaction");
    // A janitor who had begun before has them; making partitions would wait for him for a moment only.
    sqlx::query("SELECT FROM retention FOR UPDATE").execute(&mut *making).await.expect("he ends");
    sqlx::raw_sql(PARTITIONS_OF_THE_PAST).execute(&mut *making).await.expect("partitions of the past");
    making.commit().await.expect("they are made");
    admin
}

async fn let_the_janitor_work(admin: &PgPool) {
    sqlx::query("UPDATE janitor SET until = '-infinity'").execute(admin).await.expect("the lease is given back");
}

#[test]
fn partitions_are_made_ahead_of_time() {
    test_with(Options { settings: often(20), ..Options::default() }, async |world| {
        let admin = world.database.admin_pool().await;
        let lost = "DO $$ DECLARE p record; BEGIN
                        FOR p IN DELETE FROM time_partition WHERE from_at IS NOT NULL RETURNING name LOOP EXECUTE format('DROP TABLE %I', p.name); END LOOP;
                    END $$";
        sqlx::raw_sql(lost).execute(&admin).await.unwrap();
        let store = Store::new(world.database.pool(1).await);
        for subject in [Subject::Ledger, Subject::Operation] {
            eventually("there are partitions for four weeks", WAIT, || async {
                let state = store.partition_state(subject).await.unwrap();
                (state.ahead_seconds >= i64::try_from(28 * DAY).unwrap() && state.strayed == 0).then_some(())
            })
            .await;
        }
        world.count("CHAIR", 1).await;
        assert_eq!(number(&admin, "SELECT count(*) FROM ledger_default").await, 0);
    });
}

#[test]
fn what_is_finished_goes_when_its_time_is_over_and_what_still_counts_stays() {
    test_with(Options { settings: often(50), ..Options::default() }, async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        let [released, confirmed, forgotten] =
            [world.hold("CHAIR", 1).await, world.hold("CHAIR", 2).await, world.hold("CHAIR", 3).await];
        world.release(&released).await.unwrap();
        world.confirm(&confirmed).await.unwrap();
        age(world, 60).await;
        let_the_janitor_work(&admin).await;
        let [released, confirmed, forgotten] = [released, confirmed, forgotten].map(|id| aged(&id, 60));

        eventually("the finished one is gone", WAIT, || async { world.get(&released).await.err() }).await;
        assert_eq!(reason(world.get(&released).await), ErrorReason::NotFound);
        assert_eq!(world.get(&confirmed).await.unwrap().state(), pb::ReservationState::Confirmed);
        // A hold of long ago whose units come back only now is not finished for long.
        eventually("the forgotten hold is over", WAIT, || async {
            (world.get(&forgotten).await.unwrap().state() == pb::ReservationState::Expired).then_some(())
        })
        .await;
        world.level_becomes("CHAIR", "its units are free", |level| level.held == 0 && level.committed == 2).await;
        assert_eq!(number(&admin, "SELECT count(*) FROM allocation").await, 2);
        eventually("old keys are gone", WAIT, || async {
            (number(&admin, "SELECT count(*) FROM operation WHERE created_at < now() - interval '50 days'").await == 0)
                .then_some(())
        })
        .await;
        // A retry of a request whose key is forgotten is refused, not carried out again.
        let request = pb::ConfirmRequest { request_id: aged(&key(), 60), ..crate::world::confirm(&confirmed) };
        assert_eq!(reason(world.reservations().confirm(request).await), ErrorReason::KeyOutOfWindow);
        assert_eq!(world.on_offer("CHAIR").await, 8);
    });
}

fn told(id: &str, kind: pb::EvidenceKind) -> pb::RecordEvidenceRequest {
    pb::RecordEvidenceRequest { request_id: key(), reservation_id: id.into(), kind: kind.into(), ..Default::default() }
}

/// Purges what is older than five weeks: how many were looked at, and how many went.
async fn purge(store: &Store) -> (u64, u64) {
    let step = store.purge_reservations(Duration::from_secs(35 * DAY), 500).await.expect("the purge");
    (step.seen, step.purged)
}

async fn bought(world: &World, units: i64) -> String {
    let id = world.hold("CHAIR", units).await;
    world.confirm(&id).await.unwrap();
    id
}

#[test]
fn what_was_shipped_or_called_off_goes_when_no_unit_of_it_is_committed_any_more() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        let [shipped, refused, withdrawn, partly] =
            [bought(world, 2).await, bought(world, 3).await, bought(world, 1).await, bought(world, 4).await];
        let mut client = world.reservations();
        client.fulfil(fulfil(&shipped, vec![])).await.unwrap();
        client.record_evidence(told(&refused, pb::EvidenceKind::Sent)).await.unwrap();
        client.cancel(cancel(&refused, vec![])).await.unwrap();
        client.cancel(cancel(&withdrawn, vec![])).await.unwrap();
        client.fulfil(fulfil(&partly, vec![portion("CHAIR", 1)])).await.unwrap();
        client.cancel(cancel(&partly, vec![portion("CHAIR", 1)])).await.unwrap();
        age(world, 60).await;
        let [shipped, refused, withdrawn, partly] = [shipped, refused, withdrawn, partly].map(|id| aged(&id, 60));

        // No count has said yet that the shipped ones are off, and the vendor has not taken the one cancellation.
        let store = Store::new(world.database.pool(1).await);
        assert_eq!(purge(&store).await, (4, 1));
        assert_eq!(reason(world.get(&withdrawn).await), ErrorReason::NotFound);
        assert_eq!(world.level("CHAIR").await.committed, 2 + 3 + 3);
        assert_eq!(world.audit().await, []);

        world.count("CHAIR", 7).await;
        assert_eq!(world.level("CHAIR").await.committed, 3 + 2, "the count reflects what was shipped");
        assert_eq!(purge(&store).await, (3, 1));
        assert_eq!(reason(world.get(&shipped).await), ErrorReason::NotFound);
        assert_eq!(world.audit().await, []);

        client.record_evidence(told(&refused, pb::EvidenceKind::CancellationTaken)).await.unwrap();
        assert_eq!(purge(&store).await, (2, 1));
        assert_eq!(reason(world.get(&refused).await), ErrorReason::NotFound);
        let stands = world.get(&partly).await.unwrap();
        assert_eq!(stands.state(), pb::ReservationState::Confirmed);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.committed, level.available), (7, 2, 5));
        assert_eq!(number(&admin, "SELECT count(*) FROM progress").await, 1, "progress goes with what it is about");
        assert_eq!(number(&admin, "SELECT count(*) FROM allocation").await, 1);
    });
}

#[test]
fn what_an_owner_bought_is_kept_while_the_policy_limits_that() {
    test(async |world| {
        with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        let limited = |version, max_per_owner| pb::ApplyPoliciesRequest {
            policies: vec![pb::SkuPolicy { sku: "CHAIR".into(), version, max_per_owner, ..Default::default() }],
        };
        world.stock().apply_policies(limited(1, 2)).await.unwrap();
        let id = bought(world, 2).await;
        world.reservations().fulfil(fulfil(&id, vec![])).await.unwrap();
        age(world, 60).await;
        world.count("CHAIR", 8).await;
        let store = Store::new(world.database.pool(1).await);
        assert_eq!(purge(&store).await, (1, 0));
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::LimitExceeded);
        world.stock().apply_policies(limited(2, 0)).await.unwrap();
        assert_eq!(purge(&store).await, (1, 1));
        assert_eq!(world.on_offer("CHAIR").await, 8);
    });
}

#[test]
fn from_when_on_watches_can_be_told_is_known_when_the_past_is_dropped() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        bought(world, 4).await;
        world.count("CHAIR", 3).await;
        let newest = "SELECT max(xid)::text::bigint FROM (SELECT xid FROM ledger UNION ALL SELECT xid FROM at_risk) x";
        let newest = number(&admin, newest).await;
        assert_eq!(number(&admin, "SELECT count(*) FROM at_risk").await, 1);
        age(world, 500).await;
        world.count("LAMP", 1).await;
        let store = Store::new(world.database.pool(1).await);
        while store.drop_partition(Subject::Ledger, Duration::from_secs(400 * DAY)).await.unwrap().is_some() {}
        assert_eq!(number(&admin, "SELECT count(*) FROM at_risk").await, 0);
        assert_eq!(number(&admin, "SELECT count(*) FROM ledger").await, 1);
        assert_eq!(number(&admin, "SELECT dropped_xid::text::bigint FROM record_incarnation").await, newest);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.committed, level.shortfall), (3, 4, 1));
    });
}

#[test]
fn a_row_of_stock_is_its_opening_and_its_ledger() {
    test_with(Options { settings: often(50), ..Options::default() }, async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 10).await;
        world.confirm(&world.hold("CHAIR", 2).await).await.unwrap();
        world.release(&world.hold("CHAIR", 3).await).await.unwrap();
        age(world, 500).await;
        let_the_janitor_work(&admin).await;
        world.count("CHAIR", 12).await;
        world.confirm(&world.hold("CHAIR", 1).await).await.unwrap();
        eventually("old entries are summed up", WAIT, || async {
            (number(&admin, "SELECT count(*) FROM ledger WHERE at < now() - interval '450 days'").await == 0)
                .then_some(())
        })
        .await;
        let opening =
            sqlx::query("SELECT entries, version, on_hand, held, committed FROM ledger_opening").fetch_one(&admin);
        let opening = opening.await.unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|column| opening.get::<i64, _>(column)), [5, 5, 10, 0, 2]);
        assert_eq!(world.audit().await, []);
        let level = world.level("CHAIR").await;
        assert_eq!((level.on_hand, level.committed), (12, 3));
        assert!(Store::new(world.database.pool(1).await).ledger_kept_from().await.unwrap().is_some());
        // What stock was is told from the opening on, and of the time before it is said that it is not kept.
        let (now, day) = (crate::world::now(), i64::try_from(DAY).unwrap());
        let at = |days: i64| {
            let time = Some(prost_types::Timestamp { seconds: now.seconds - days * day, nanos: 0 });
            pb::GetStockAsOfRequest { sku: "CHAIR".into(), time, ..Default::default() }
        };
        let then = world.stock().get_stock_as_of(at(100)).await.unwrap().into_inner();
        assert_eq!((then.levels[0].on_hand, then.levels[0].held, then.levels[0].committed), (10, 0, 2));
        assert_eq!(reason(world.stock().get_stock_as_of(at(501)).await), ErrorReason::BeforeRecord);
        // And a wrong opening is seen.
        sqlx::query("UPDATE ledger_opening SET on_hand = on_hand + 1").execute(&admin).await.unwrap();
        assert!(world.audit().await.iter().any(|finding| finding.invariant == "I3"));
        sqlx::query("UPDATE ledger_opening SET on_hand = on_hand - 1").execute(&admin).await.unwrap();
    });
}

#[test]
fn without_a_partition_selling_goes_on_and_an_alarm_is_raised() {
    test_with(Options { settings: often(20), ..Options::default() }, async |world| {
        // Nobody has been the janitor for long: partitions end some time ago.
        let admin = with_partitions_of_the_past(world).await;
        let lost = "DO $$ DECLARE p record; BEGIN
                        FOR p IN DELETE FROM time_partition WHERE to_at > now() RETURNING name LOOP EXECUTE format('DROP TABLE %I', p.name); END LOOP;
                    END $$";
        sqlx::raw_sql(lost).execute(&admin).await.unwrap();

        world.count("CHAIR", 5).await;
        let id = world.hold("CHAIR", 1).await;
        let request = crate::world::confirm(&id);
        world.reservations().confirm(request.clone()).await.unwrap();
        eventually("the alarm", WAIT, || async {
            let ledger = world.metric(0, "holdfast_strayed_rows{table=\"ledger\"}").await;
            let operation = world.metric(0, "holdfast_strayed_rows{table=\"operation\"}").await;
            (ledger == Some(3.0) && operation == Some(2.0)).then_some(())
        })
        .await;

        // The janitor is back: new rows get partitions again, and what has strayed stays known.
        let_the_janitor_work(&admin).await;
        let store = Store::new(world.database.pool(1).await);
        for subject in [Subject::Ledger, Subject::Operation] {
            eventually("partitions are ahead again", WAIT, || async {
                (store.partition_state(subject).await.unwrap().ahead_seconds >= i64::try_from(28 * DAY).unwrap())
                    .then_some(())
            })
            .await;
        }
        assert!(world.reservations().confirm(request).await.unwrap().into_inner().replayed);
        world.release(&world.hold("CHAIR", 1).await).await.unwrap();
        assert_eq!(world.level("CHAIR").await.committed, 1);
    });
}

#[test]
fn two_janitors_drop_each_partition_once_while_everybody_sells() {
    let mut settings = often(10);
    settings.push(("RETENTION__LEASE_MS", "5".to_owned()));
    test_with(Options { replicas: 2, settings, ..Options::default() }, async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("LAMP", 5).await;
        age(world, 500).await;
        world.count("CHAIR", 1_000).await;
        let over = "SELECT count(*) FROM time_partition
                    WHERE to_at < now() - CASE subject WHEN 'ledger' THEN interval '400 days' ELSE interval '35 days' END";
        assert!(number(&admin, over).await >= 20);

        let sold = (0..300).map(|n| {
            let mut client = world.reservations_of(n);
            async move {
                let began = Instant::now();
                let held = client.reserve(ask(&[("CHAIR", 1)])).await.unwrap().into_inner();
                client.confirm(crate::world::confirm(&id_of(&held))).await.unwrap();
                began.elapsed()
            }
        });
        let dropped = async {
            let_the_janitor_work(&admin).await;
            eventually("all are dropped", WAIT, || async { (number(&admin, over).await == 0).then_some(()) }).await;
        };
        let (times, ()) = tokio::join!(all_at_once(sold), dropped);
        let slowest = times.iter().max().unwrap();
        assert!(slowest < &Duration::from_secs(10), "a sale took {slowest:?}");
        assert_eq!(world.level("CHAIR").await.committed, 300);
        assert_eq!(number(&admin, "SELECT sum(entries)::bigint FROM ledger_opening").await, 1);
    });
}

#[test]
fn a_lock_that_is_not_had_is_given_up_and_nobody_waits_for_long() {
    test(async |world| {
        let admin = with_partitions_of_the_past(world).await;
        world.count("CHAIR", 100).await;
        let mut reader = admin.begin().await.unwrap();
        sqlx::query("SELECT count(*) FROM ledger").execute(&mut *reader).await.unwrap();

        let store = Store::new(world.database.pool(1).await);
        let dropping =
            tokio::spawn(async move { store.drop_partition(Subject::Ledger, Duration::from_secs(400 * DAY)).await });
        let mut slowest = Duration::ZERO;
        while !dropping.is_finished() {
            let began = Instant::now();
            world.release(&world.hold("CHAIR", 1).await).await.unwrap();
            slowest = slowest.max(began.elapsed());
        }
        assert!(matches!(dropping.await.unwrap(), Err(StoreError::Contended(_))));
        assert!(slowest < Duration::from_secs(1), "a checkout took {slowest:?}");
        let partitions = "SELECT count(*) FROM time_partition WHERE subject = 'ledger'";
        let before = number(&admin, partitions).await;
        reader.rollback().await.unwrap();
        let store = Store::new(world.database.pool(1).await);
        let dropped = store.drop_partition(Subject::Ledger, Duration::from_secs(400 * DAY)).await.unwrap();
        assert_eq!(dropped.as_deref(), Some("ledger_first"));
        assert_eq!(number(&admin, partitions).await, before - 1);
    });
}

#[test]
fn nothing_young_is_dropped_whatever_the_running_role_asks_for() {
    test(async |world| {
        with_partitions_of_the_past(world).await;
        world.count("CHAIR", 5).await;
        world.release(&world.hold("CHAIR", 1).await).await.unwrap();
        age(world, 3).await;
        let pool = world.database.pool(1).await;
        for subject in ["ledger", "operation"] {
            loop {
                let drop = sqlx::query_scalar("SELECT drop_partition($1, clock_timestamp() + interval '1 year')")
                    .bind(subject);
                let dropped: Option<String> = drop.fetch_one(&pool).await.unwrap();
                if dropped.is_none() {
                    break;
                }
            }
        }
        sqlx::query("SELECT purge_reservations(clock_timestamp() + interval '1 year', 100)")
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query("SELECT purge_operations(clock_timestamp() + interval '1 year', 100)")
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(number(&pool, "SELECT count(*) FROM ledger").await, 3);
        assert_eq!(number(&pool, "SELECT count(*) FROM reservation").await, 1);
        assert_eq!(number(&pool, "SELECT count(*) FROM operation").await, 2);
        for refused in [
            "SELECT make_partition('ledger', now(), now() + interval '1 day')",
            "SELECT fold_ledger('ledger_default', now())",
            "UPDATE retention SET kept_from = now()",
            "DELETE FROM ledger_opening",
            "DELETE FROM ledger_default",
            "SELECT begin_incarnation(now())",
            "UPDATE record_incarnation SET id = gen_random_uuid()",
        ] {
            let error = sqlx::query(refused).execute(&pool).await.expect_err(refused);
            assert_eq!(
                error.as_database_error().and_then(|e| e.code()).as_deref(),
                Some("42501"),
                "{refused}: {error}"
            );
        }
        assert!(sqlx::query("SELECT make_partitions('9 years')").execute(&pool).await.is_err());
    });
}

#[test]
fn a_record_has_one_incarnation_until_it_is_restored() {
    test(async |world| {
        let store = Store::new(world.database.pool(1).await);
        let first = store.incarnation().await.unwrap();
        assert_eq!(store.incarnation().await.unwrap(), first);
        let admin = world.database.admin_pool().await;
        sqlx::query("SELECT begin_incarnation(now() - interval '5 minutes')").execute(&admin).await.unwrap();
        assert_ne!(store.incarnation().await.unwrap(), first);
    });
}

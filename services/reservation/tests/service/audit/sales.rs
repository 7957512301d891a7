//! Faults in sales under way: what became of their units, and what channels have.

use holdfast_api::reservation::v1 as pb;
use sqlx::AssertSqlSafe;

use super::{
    Kind, Outcome, Side, clear, comes_to_rest, finds, open, plant, repair, repair_all, repair_of, watchful, whole,
};
use crate::watcher::{Events, watch_reservations};
use crate::world::{World, ask, cancel, fulfil, portion, test_with};

/// A sale of five of LAMP, of which one was shipped and one called off.
async fn sale_under_way(world: &World) -> String {
    world.count("LAMP", 20).await;
    let id = world.hold("LAMP", 5).await;
    world.confirm(&id).await.expect("confirmed");
    world.reservations().fulfil(fulfil(&id, vec![portion("LAMP", 1)])).await.expect("shipped");
    world.reservations().cancel(cancel(&id, vec![portion("LAMP", 1)])).await.expect("called off");
    id
}

/// What is done to the sale (`{id}`), the kind that must be found, and what of its units is committed after the repair.
const SALES: &[(&str, &str, Kind, i64)] = &[
    (
        "units are noted as reflected",
        "UPDATE progress SET reflected = 2 WHERE reservation_id = '{id}'",
        Kind::Promises,
        2,
    ),
    (
        "a cancellation is undone",
        "UPDATE progress SET cancelled = 0, withdrawn = 0 WHERE reservation_id = '{id}'",
        Kind::Promises,
        5,
    ),
    (
        "it is called shipped as a whole",
        "UPDATE reservation SET state = 'FULFILLED' WHERE id = '{id}'",
        Kind::Reservation,
        4,
    ),
    ("it is called cancelled", "UPDATE reservation SET state = 'CANCELLED' WHERE id = '{id}'", Kind::Reservation, 4),
    ("it is called expired", "UPDATE reservation SET state = 'EXPIRED' WHERE id = '{id}'", Kind::Reservation, 4),
    ("its allocation is lost", "DELETE FROM allocation WHERE reservation_id = '{id}'", Kind::Reservation, 4),
    ("it vanishes", "DELETE FROM reservation WHERE id = '{id}'", Kind::Reservation, 4),
    ("its row is paused by hand", "UPDATE stock SET paused = true WHERE sku = 'LAMP'", Kind::Turn, 4),
];

#[test]
fn a_sale_is_repaired_to_what_became_of_its_units() {
    test_with(watchful(1), async |world| {
        let pool = world.database.admin_pool().await;
        for (what, statement, kind, committed) in SALES {
            println!("{what}");
            let id = sale_under_way(world).await;
            comes_to_rest(world).await;
            plant(world, statement.replace("{id}", &id)).await;
            finds(world, *kind).await;
            assert!(whole(world).await.0.contains(kind), "{what}");
            repair_all(world, Side::Row).await;
            let level = world.level("LAMP").await;
            assert_eq!((level.held, level.committed), (0, *committed), "{what}");
            let state: String = sqlx::query_scalar("SELECT state FROM reservation WHERE id = $1::uuid")
                .bind(&id)
                .fetch_one(&pool)
                .await
                .unwrap();
            assert_eq!(state, "CONFIRMED", "{what}");
            clear(world).await;
        }
    });
}

#[test]
fn a_repair_of_a_sale_is_told_to_those_who_watch_it() {
    test_with(watchful(1), async |world| {
        let id = sale_under_way(world).await;
        comes_to_rest(world).await;
        plant(world, format!("UPDATE reservation SET state = 'EXPIRED' WHERE id = '{id}'")).await;
        finds(world, Kind::Reservation).await;
        let kinds = [pb::ReservationEventKind::Repaired];
        let mut stream = watch_reservations(world.reservations(), "", &kinds, "").await.unwrap();
        let mut events = Events::default();
        events.until_snapshot_end(&mut stream).await;
        repair_all(world, Side::Row).await;
        events.until(&mut stream, "the repair is told", |events| !events.told.is_empty()).await;
        assert_eq!(events.happened(), [(pb::ReservationEventKind::Repaired, id)]);
        let told = events.told[0].reservation.as_ref().unwrap();
        assert_eq!(told.state(), pb::ReservationState::Confirmed);
    });
}

#[test]
fn a_channel_that_is_counted_wrong_is_found_and_counted_anew_by_a_policy() {
    test_with(watchful(1), async |world| {
        world.count("LAMP", 20).await;
        let policy = |version| pb::ApplyPoliciesRequest {
            policies: vec![pb::SkuPolicy {
                sku: "LAMP".into(),
                version,
                channel_caps: vec![pb::ChannelCap { channel: "web".into(), quantity: 9 }],
                ..Default::default()
            }],
        };
        world.stock().apply_policies(policy(1)).await.expect("the policy is taken");
        let request = pb::ReserveRequest { channel: "web".into(), ..ask(&[("LAMP", 3)]) };
        world.reservations().reserve(request).await.expect("held");
        plant(world, "UPDATE channel_use SET units = 8".to_owned()).await;
        let found = finds(world, Kind::Channel).await;
        let answer = repair(world, repair_of(&[found], Side::Row, false)).await;
        assert_eq!(answer.results.len(), 1, "{answer:#?}");
        assert_eq!(answer.results[0].outcome(), Outcome::Left);
        assert!(answer.results[0].detail.contains("apply its policy"), "{answer:#?}");
        plant(world, "DELETE FROM channel_use".to_owned()).await;
        world.stock().apply_policies(policy(2)).await.expect("the policy is taken");
        comes_to_rest(world).await;
        assert_eq!(world.audit().await, []);
    });
}

#[test]
fn a_sale_whose_progress_is_lost_is_left_until_it_is_put_back() {
    test_with(watchful(1), async |world| {
        let id = sale_under_way(world).await;
        let pool = world.database.admin_pool().await;
        for statement in [
            "DELETE FROM progress WHERE reservation_id = '{id}'",
            "UPDATE progress SET quantity = 9 WHERE reservation_id = '{id}'",
        ] {
            sqlx::raw_sql("CREATE TABLE saved AS SELECT * FROM progress").execute(&pool).await.unwrap();
            plant(world, statement.replace("{id}", &id)).await;
            finds(world, Kind::Reservation).await;
            let answer = repair(world, repair_of(&open(world).await, Side::Row, false)).await;
            let left = answer.results.iter().find(|one| one.reservation_id == id).expect("the sale is told of");
            assert_eq!(left.outcome(), Outcome::Left, "{answer:#?}");
            assert!(left.detail.contains("from a backup"), "{}", left.detail);
            assert!(answer.results.iter().all(|one| one.outcome() != Outcome::Repaired), "{answer:#?}");
            let columns = "reservation_id, sku, location, quantity, released, cancelled, cancelling, withdrawn, fulfilled, returned, reflected, evidence, known_at, known_until";
            let back = format!(
                "BEGIN; DELETE FROM progress; INSERT INTO progress ({columns}) SELECT {columns} FROM saved; DROP TABLE saved; COMMIT"
            );
            sqlx::raw_sql(AssertSqlSafe(back)).execute(&pool).await.unwrap();
            comes_to_rest(world).await;
            assert_eq!(world.audit().await, []);
        }
    });
}

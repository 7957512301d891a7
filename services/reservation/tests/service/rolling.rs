//! Replicas of the version before beside this one: what they call keeps right what they know nothing of.

use holdfast_api::reservation::v1 as pb;
use sqlx::PgPool;
use uuid::Uuid;

use crate::world::{World, ask, id_of, key, test};

/// A hold of a capped channel, made by this version.
async fn channelled(world: &World, units: i64) -> Uuid {
    let request = pb::ReserveRequest { channel: "web".into(), ..ask(&[("CHAIR", units)]) };
    let held = world.reservations().reserve(request).await.unwrap().into_inner();
    id_of(&held).parse().unwrap()
}

async fn capped(world: &World) {
    world.count("CHAIR", 20).await;
    let policy = pb::SkuPolicy {
        sku: "CHAIR".into(),
        version: 1,
        channel_caps: vec![pb::ChannelCap { channel: "web".into(), quantity: 9 }],
        ..Default::default()
    };
    world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
}

async fn used(pool: &PgPool) -> i64 {
    let query = "SELECT units FROM channel_use WHERE sku = 'CHAIR' AND channel = 'web'";
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn pause(world: &World) {
    let request = pb::PauseSellingRequest {
        request_id: key(),
        skus: vec!["CHAIR".into()],
        actor: "ann".into(),
        note: "a wrong price".into(),
    };
    world.stock().pause_selling(request).await.unwrap();
}

const OLD_FAST: &str =
    "SELECT commit_fast($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 900000000, 3600000000)";

/// What a replica of the version before sends for a hold of a chair.
async fn old_reserve(pool: &PgPool, id: Uuid) -> Result<serde_json::Value, sqlx::Error> {
    sqlx::query_scalar(OLD_FAST)
        .bind(vec![id])
        .bind(vec!["cart"])
        .bind(vec![vec![0_u8; 32]])
        .bind(vec![serde_json::json!([["CHAIR", null, 1]])])
        .bind(vec![60_000_000_i64])
        .bind(vec!["old"])
        .bind(vec![id])
        .bind(vec!["CHAIR"])
        .bind(vec!["main"])
        .bind(vec![1_i64])
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<Vec<u8>>::new())
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<&str>::new())
        .bind(Vec::<&str>::new())
        .fetch_one(pool)
        .await
}

/// And for the end of a hold.
async fn old_transition(pool: &PgPool, id: Uuid, state: &str) -> serde_json::Value {
    sqlx::query_scalar(OLD_FAST)
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<&str>::new())
        .bind(Vec::<Vec<u8>>::new())
        .bind(Vec::<serde_json::Value>::new())
        .bind(Vec::<i64>::new())
        .bind(Vec::<&str>::new())
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<&str>::new())
        .bind(Vec::<&str>::new())
        .bind(Vec::<i64>::new())
        .bind(vec![Uuid::now_v7()])
        .bind(vec![vec![0_u8; 32]])
        .bind(vec![id])
        .bind(vec![state])
        .bind(vec!["old"])
        .fetch_one(pool)
        .await
        .unwrap()
}

#[test]
fn an_old_replica_s_fast_path_moves_the_counter_of_a_channel_that_it_does_not_know() {
    test(async |world| {
        capped(world).await;
        let (kept, given_back) = (channelled(world, 2).await, channelled(world, 3).await);
        let pool = world.database.pool(1).await;
        assert_eq!(used(&pool).await, 5);
        let answer = old_transition(&pool, given_back, "RELEASED").await;
        // The form that it reads: three parts to an allocation.
        assert_eq!(answer["records"][0]["allocations"], serde_json::json!([["CHAIR", "main", 3]]));
        assert_eq!(used(&pool).await, 2);
        old_transition(&pool, kept, "CONFIRMED").await;
        assert_eq!(used(&pool).await, 2);
        old_reserve(&pool, Uuid::now_v7()).await.unwrap();
        assert_eq!(world.audit().await, []);
    });
}

/// What a replica of the version before writes for the end of a hold that it planned: it knows neither channels nor progress.
async fn old_plan(pool: &PgPool, id: Uuid, cause: &str, state: &str, held: i64) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let none = Vec::<&str>::new;
    let locked: serde_json::Value =
        sqlx::query_scalar("SELECT lock_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 500)")
            .bind(if cause == "RESERVE" { vec![id] } else { Vec::new() })
            .bind(if cause == "RESERVE" { Vec::new() } else { vec![id] })
            .bind(Vec::<Uuid>::new())
            .bind(vec!["CHAIR"])
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(none())
            .bind(Vec::<i64>::new())
            .bind(Vec::<i64>::new())
            .fetch_one(&mut *transaction)
            .await?;
    let now = &locked["decided_at"];
    let mut level = locked["levels"][0].clone();
    // It writes the columns that it knows.
    level.as_object_mut().unwrap().retain(|column, _| column != "paused" && column != "meaning");
    let version = level["version"].as_i64().unwrap() + 1;
    level["held"] = (level["held"].as_i64().unwrap() + held).into();
    level["version"] = version.into();
    level["may_raise_shortfall"] = false.into();
    let mut record = locked["records"].get(0).cloned().unwrap_or_else(|| {
        serde_json::json!({"id": id, "owner": "cart", "payload_hash": "00", "lines": [["CHAIR", null, held]], "created_at": now,
                           "first_expires_at": 4_000_000_000_000_000_i64, "expires_at": 4_000_000_000_000_000_i64, "version": 0})
    });
    for unknown in [
        "channel",
        "order_ref",
        "labels",
        "unsplit",
        "predecessor",
        "successor",
        "progress",
        "backordered",
        "allocations",
    ] {
        record.as_object_mut().unwrap().remove(unknown);
    }
    record["state"] = state.into();
    record["state_at"] = now.clone();
    record["version"] = (record["version"].as_i64().unwrap() + 1).into();
    let entry = serde_json::json!({"sku": "CHAIR", "location": "main", "version": version, "at": now, "cause": cause, "cause_id": id, "on_hand": 0,
                                   "held": held, "committed": 0, "safety": 0, "backorder": 0, "unsellable": 0, "actor": "old", "note": ""});
    let taken =
        if cause == "RESERVE" { serde_json::json!([[id, "CHAIR", "main", held]]) } else { serde_json::json!([]) };
    let plan = serde_json::json!({"decided_at": now, "created": [], "unused": [], "levels": [level], "records": [record], "allocations": taken,
                                  "ledger": [entry], "operations": [], "policies": []});
    sqlx::query("SELECT write_plan($1)").bind(plan).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[test]
fn an_old_replica_s_plan_moves_the_counter_and_keeps_what_it_does_not_know() {
    test(async |world| {
        capped(world).await;
        let id = channelled(world, 3).await;
        let pool = world.database.pool(1).await;
        old_plan(&pool, id, "RELEASE", "RELEASED", -3).await.unwrap();
        assert_eq!(used(&pool).await, 0);
        assert_eq!(world.get(&id.to_string()).await.unwrap().channel, "web");
        old_plan(&pool, Uuid::now_v7(), "RESERVE", "HELD", 2).await.unwrap();
        assert_eq!(world.audit().await, []);
    });
}

#[test]
fn an_old_replica_sells_nothing_of_what_is_paused() {
    test(async |world| {
        capped(world).await;
        pause(world).await;
        let pool = world.database.pool(1).await;
        let refused = old_reserve(&pool, Uuid::now_v7()).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("HF001"));
        let refused = old_plan(&pool, Uuid::now_v7(), "RESERVE", "HELD", 1).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("40001"));
        assert!(world.level("CHAIR").await.paused);
    });
}

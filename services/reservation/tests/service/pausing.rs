//! Pauses in selling: by hand, and by the breaker when a SKU sells faster than its policy allows.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;

use crate::world::{World, all_at_once, ask, fields, key, published_becomes, reason, test};

fn pause(skus: &[&str]) -> pb::PauseSellingRequest {
    pb::PauseSellingRequest {
        request_id: key(),
        skus: skus.iter().map(|sku| (*sku).to_owned()).collect(),
        actor: "anna".into(),
        note: "the price is wrong".into(),
    }
}

fn resume(skus: &[&str]) -> pb::ResumeSellingRequest {
    let pb::PauseSellingRequest { request_id, skus, actor, .. } = pause(skus);
    pb::ResumeSellingRequest { request_id, skus, actor, note: "it is right again".into() }
}

async fn limit_pace(world: &World, sku: &str, units: i64) {
    let policy = pb::SkuPolicy { sku: sku.into(), version: 1, max_per_minute: units, ..Default::default() };
    world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
}

async fn paused(world: &World) -> Vec<pb::PausedSku> {
    let request = pb::ListPausedSkusRequest::default();
    world.stock().list_paused_skus(request).await.unwrap().into_inner().paused_skus
}

#[test]
fn a_paused_sku_is_not_sold_until_somebody_resumes_it_and_holds_go_on() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        world.count("TABLE", 10).await;
        let before = world.hold("CHAIR", 2).await;
        let sale = world.hold("CHAIR", 1).await;
        let request = pause(&["CHAIR", "TABLE"]);
        let done = world.stock().pause_selling(request.clone()).await.unwrap().into_inner();
        assert_eq!((done.changed_skus, done.replayed), (vec!["CHAIR".to_owned(), "TABLE".to_owned()], false));
        let again = world.stock().pause_selling(request.clone()).await.unwrap().into_inner();
        assert_eq!((again.changed_skus.len(), again.replayed), (2, true));
        assert_eq!(world.stock().pause_selling(pause(&["CHAIR"])).await.unwrap().into_inner().changed_skus.len(), 0);
        let other = pb::PauseSellingRequest { note: "another".into(), ..request };
        assert_eq!(reason(world.stock().pause_selling(other).await), ErrorReason::KeyReused);

        published_becomes(world, "CHAIR", 0).await;
        let level = world.level("CHAIR").await;
        assert_eq!((level.paused, level.available, level.on_hand), (true, 0, 10));
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::SellingPaused);
        let cart = world.reservations().reserve(ask(&[("CHAIR", 1), ("TABLE", 99)])).await;
        assert_eq!(reason(cart), ErrorReason::SellingPaused, "that is why, not a shortage");
        let retry = pb::ReserveRequest { attempt: 2, ..ask(&[("CHAIR", 1)]) };
        assert_eq!(reason(world.reservations().reserve(retry.clone()).await), ErrorReason::SellingPaused);
        let listed = paused(world).await;
        let told: Vec<_> = listed.iter().map(|p| (p.sku.as_str(), p.actor.as_str(), p.note.as_str())).collect();
        assert_eq!(told, [("CHAIR", "anna", "the price is wrong"), ("TABLE", "anna", "the price is wrong")]);
        // What was promised goes on.
        world.confirm(&sale).await.unwrap();
        let extend = pb::ExtendRequest {
            request_id: key(),
            reservation_id: before.clone(),
            hold_duration: crate::world::seconds(3_600),
        };
        world.reservations().extend(extend).await.unwrap();
        world.release(&before).await.unwrap();

        let on = world.stock().resume_selling(resume(&["CHAIR"])).await.unwrap().into_inner();
        assert_eq!(on.changed_skus, ["CHAIR"]);
        published_becomes(world, "CHAIR", 9).await;
        world.hold("CHAIR", 9).await;
        assert_eq!(reason(world.reservations().reserve(retry).await), ErrorReason::InsufficientStock, "it was closed");
        assert_eq!(reason(world.reserve("TABLE", 1).await), ErrorReason::SellingPaused);
        let entries = pb::ListLedgerEntriesRequest { sku: "CHAIR".into(), ..Default::default() };
        let entries = world.stock().list_ledger_entries(entries).await.unwrap().into_inner().entries;
        let turns: Vec<_> = entries.iter().filter_map(|e| Some((e.cause(), e.paused?, e.actor.as_str()))).collect();
        assert_eq!(turns, [(pb::LedgerCause::Resume, false, "anna"), (pb::LedgerCause::Pause, true, "anna")]);
    });
}

#[test]
fn a_new_row_of_a_paused_sku_is_paused() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        world.stock().pause_selling(pause(&["CHAIR"])).await.unwrap();
        world.count_at("CHAIR", "second", 5).await;
        assert_eq!(world.on_offer("CHAIR").await, 0);
        world.stock().resume_selling(resume(&["CHAIR"])).await.unwrap();
        assert_eq!(world.on_offer("CHAIR").await, 6);
    });
}

#[test]
fn a_sku_that_sells_too_fast_is_paused_by_the_reserve_that_would_go_beyond() {
    test(async |world| {
        world.count("CHAIR", 1_000).await;
        limit_pace(world, "CHAIR", 20).await;
        let sent = (0..40).map(|_| {
            let (mut client, request) = (world.reservations(), ask(&[("CHAIR", 1)]));
            async move { client.reserve(request).await.map(tonic::Response::into_inner) }
        });
        let mut held = Vec::new();
        for outcome in all_at_once(sent).await {
            match outcome {
                Ok(answer) => held.push(crate::world::id_of(&answer)),
                Err(status) => assert_eq!(holdfast_kit::reason_of(&status), Some(ErrorReason::SellingPaused)),
            }
        }
        assert_eq!(held.len(), 20);
        let listed = paused(world).await;
        assert_eq!((listed.len(), listed[0].actor.as_str()), (1, "holdfast"));
        assert!(listed[0].note.contains("20"), "{}", listed[0].note);
        // A dry run says so too, and the holds of before go on.
        let dry = pb::ReserveRequest { validate_only: true, ..ask(&[("CHAIR", 1)]) };
        assert_eq!(reason(world.reservations().reserve(dry).await), ErrorReason::SellingPaused);
        world.confirm(&held[0]).await.unwrap();
        world.release(&held[1]).await.unwrap();
        world.stock().resume_selling(resume(&["CHAIR"])).await.unwrap();
        assert!(paused(world).await.is_empty());
        // The running minute is forgotten, so as many again can be sold.
        world.hold("CHAIR", 20).await;
        assert_eq!(reason(world.reserve("CHAIR", 1).await), ErrorReason::SellingPaused);
    });
}

#[test]
fn what_was_sold_within_the_last_minute_counts_to_its_end() {
    test(async |world| {
        world.count("CHAIR", 10).await;
        limit_pace(world, "CHAIR", 5).await;
        published_becomes(world, "CHAIR", 10).await;
        let id = world.hold("CHAIR", 3).await;
        // As if that had been more than half a minute ago.
        let admin = world.database.admin_pool().await;
        let earlier =
            "UPDATE selling SET recent = jsonb_build_array(jsonb_build_array((recent -> 0 ->> 0)::bigint - 35, 3))";
        sqlx::query(earlier).execute(&admin).await.unwrap();
        world.hold("CHAIR", 1).await;
        assert_eq!(reason(world.reserve("CHAIR", 2).await), ErrorReason::SellingPaused);
        world.release(&id).await.unwrap();
    });
}

#[test]
fn a_dry_run_that_would_be_too_fast_pauses_nothing() {
    test(async |world| {
        world.count("CHAIR", 100).await;
        limit_pace(world, "CHAIR", 5).await;
        let dry = pb::ReserveRequest { validate_only: true, ..ask(&[("CHAIR", 6)]) };
        assert_eq!(reason(world.reservations().reserve(dry).await), ErrorReason::SellingPaused);
        assert!(paused(world).await.is_empty());
        world.hold("CHAIR", 5).await;
    });
}

#[test]
fn paused_skus_come_page_by_page() {
    test(async |world| {
        for number in 0..5 {
            world.count(&format!("SKU-{number}"), 1).await;
        }
        world.stock().pause_selling(pause(&["SKU-4", "SKU-0", "SKU-2"])).await.unwrap();
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListPausedSkusRequest { page_size: 2, page_token };
            let page = world.stock().list_paused_skus(request).await.unwrap().into_inner();
            seen.extend(page.paused_skus.into_iter().map(|paused| paused.sku));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ["SKU-0", "SKU-2", "SKU-4"]);
        let bad = pb::ListPausedSkusRequest { page_size: -1, page_token: String::new() };
        assert_eq!(reason(world.stock().list_paused_skus(bad).await), ErrorReason::InvalidField);
        let bad = pb::ListPausedSkusRequest { page_size: 1, page_token: "x".into() };
        assert_eq!(reason(world.stock().list_paused_skus(bad).await), ErrorReason::InvalidPageToken);
    });
}

#[test]
fn bad_pauses_change_nothing() {
    test(async |world| {
        world.count("CHAIR", 1).await;
        let bad = pb::PauseSellingRequest {
            request_id: String::new(),
            note: String::new(),
            ..pause(&["", "CHAIR", "CHAIR"])
        };
        let wanted = ["request_id", "skus[0]", "skus[2]", "note"];
        assert_eq!(fields(world.stock().pause_selling(bad).await), wanted);
        assert_eq!(fields(world.stock().resume_selling(resume(&[])).await), ["skus"]);
        assert_eq!(fields(world.stock().pause_selling(pause(&["CHAIR"; 101])).await)[0], "skus");
        let ghost = world.stock().pause_selling(pause(&["CHAIR", "GHOST"])).await;
        assert_eq!(holdfast_kit::reason_of(ghost.as_ref().unwrap_err()), Some(ErrorReason::UnknownSku));
        assert_eq!(fields(ghost), ["skus[1]"]);
        assert!(paused(world).await.is_empty());
    });
}

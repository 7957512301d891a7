//! Changes of SKUs, vendors, locations and offers that are there.

use std::collections::HashMap;

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use prost_types::{Duration, FieldMask, Timestamp};
use tonic::Response;

use crate::world::{World, id, offer, reason, sku, spec, subjects, violations};

fn chair() -> wire::Sku {
    wire::Sku {
        code: "CHAIR".into(),
        name: "Chair".into(),
        gtin: "4006381333931".into(),
        attributes: HashMap::from([("colour".into(), "black".into()), ("size.eu".into(), "L".into())]),
        ..Default::default()
    }
}

fn policy() -> wire::SellingPolicy {
    wire::SellingPolicy {
        safety_stock: 2,
        backorder_limit: 5,
        max_per_reservation: 10,
        max_per_owner: 20,
        default_hold_duration: Some(Duration { seconds: 600, nanos: 5 }),
        locations: vec!["wh1".into(), "wh2".into()],
        max_per_minute: 30,
        channel_caps: vec![cap("market", 0), cap("web", 7)],
        promise_time: Some(Timestamp { seconds: 1_900_000_000, nanos: 5 }),
        promise_lead_duration: None,
    }
}

fn cap(channel: &str, quantity: i64) -> wire::ChannelCap {
    wire::ChannelCap { channel: channel.into(), quantity }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_the_mask_names_and_nothing_else() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    let new = wire::Sku {
        code: "CHAIR".into(),
        name: "Stuhl".into(),
        gtin: String::new(),
        attributes: HashMap::from([("size.eu".into(), "XL".into()), ("wood".into(), "oak".into())]),
        ..Default::default()
    };
    let renamed = world.update(new.clone(), &["name"]).await.unwrap();
    assert_eq!(
        renamed,
        wire::Sku {
            name: "Stuhl".into(),
            version: 2,
            etag: renamed.etag.clone(),
            update_time: renamed.update_time,
            ..created.clone()
        }
    );
    assert_ne!(renamed.etag, created.etag);
    let one_by_one = world.update(new.clone(), &["attributes.size.eu", "attributes.colour", "gtin"]).await.unwrap();
    assert_eq!(one_by_one.attributes, HashMap::from([("size.eu".into(), "XL".into())]), "colour is not in the request");
    assert_eq!((one_by_one.gtin.as_str(), one_by_one.version), ("", 3));
    let all = world.update(new.clone(), &["attributes"]).await.unwrap();
    assert_eq!(all.attributes, new.attributes);
    assert_eq!(world.sku("CHAIR").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_changes_nothing_leaves_version_etag_and_time_alone() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    let same = world.update(chair(), &["name", "gtin", "attributes", "policy", "policy.locations"]).await.unwrap();
    assert_eq!(same, created);
    let archived = world.archive("CHAIR").await;
    assert_eq!(world.archive("CHAIR").await, archived, "it is archived already");
    let imported = world.import(spec(), "sku,name\nCHAIR,Chair\n").await.unwrap();
    assert_eq!(imported.unchanged, 1);
    assert_eq!(world.sku("CHAIR").await, archived);
    assert_eq!(world.number("SELECT count(*) FROM change").await, 2, "created, archived");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_kept_as_it_was_said_and_changed_field_by_field() {
    let world = World::new().await;
    world.location("wh1").await;
    world.location("wh2").await;
    let created = world.create_sku(wire::Sku { policy: Some(policy()), ..chair() }).await.unwrap();
    assert_eq!(created.policy, Some(policy()));
    assert_eq!(world.sku("CHAIR").await, created);
    let other = wire::SellingPolicy { safety_stock: 9, ..Default::default() };
    let new = wire::Sku { policy: Some(other.clone()), ..chair() };
    let changed = world.update(new.clone(), &["policy.safety_stock", "policy.default_hold_duration"]).await.unwrap();
    assert_eq!(changed.policy, Some(wire::SellingPolicy { safety_stock: 9, default_hold_duration: None, ..policy() }));
    assert_eq!(world.update(new, &["policy"]).await.unwrap().policy, Some(other));
    assert_eq!(world.update(chair(), &["policy"]).await.unwrap().policy, None, "without a policy nothing is limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_field_by_field_and_changes_nothing() {
    let world = World::new().await;
    world.location("wh1").await;
    let created = world.create_sku(chair()).await.unwrap();
    let bad = wire::SellingPolicy {
        safety_stock: -1,
        backorder_limit: 1_000_000_001,
        max_per_reservation: 1_000_001,
        max_per_owner: -1,
        default_hold_duration: Some(Duration { seconds: 0, nanos: 999_999_999 }),
        locations: vec!["wh1".into(), "wh 1".into(), "wh1".into()],
        max_per_minute: 1_000_000_001,
        channel_caps: vec![cap("web", 1), cap("", 1), cap("app", -1), cap("web", 2), cap("a\nb", 1)],
        promise_time: Some(Timestamp { seconds: 1_900_000_000, nanos: -1 }),
        promise_lead_duration: Some(Duration { seconds: 5, nanos: 1 }),
    };
    let (fields, _) = violations(world.update(wire::Sku { policy: Some(bad), ..chair() }, &["policy"]).await);
    let fields: Vec<&str> = fields.iter().map(|field| field.strip_prefix("sku.policy.").unwrap()).collect();
    assert_eq!(
        fields,
        [
            "safety_stock",
            "backorder_limit",
            "max_per_reservation",
            "max_per_owner",
            "max_per_minute",
            "default_hold_duration",
            "locations[1]",
            "locations[2]",
            "channel_caps[\"\"].channel",
            "channel_caps[\"a\\nb\"].channel",
            "channel_caps[\"app\"].quantity",
            "channel_caps[\"web\"]",
            "promise_time",
            "promise_lead_duration",
        ]
    );
    let masks: [&[&str]; 6] = [&[], &["nam"], &["policy."], &["policy.x"], &["attributes."], &["etag", "name", ""]];
    for mask in masks {
        let (fields, _) = violations(world.update(chair(), mask).await);
        assert!(fields[0].starts_with("update_mask"), "{mask:?}: {fields:?}");
    }
    let huge = wire::Sku {
        policy: Some(wire::SellingPolicy {
            default_hold_duration: Some(Duration { seconds: i64::MAX, nanos: i32::MAX }),
            ..Default::default()
        }),
        ..chair()
    };
    assert_eq!(violations(world.update(huge, &["policy"]).await).0, ["sku.policy.default_hold_duration"]);
    let many = wire::Sku { attributes: (0..49).map(|n| (format!("a{n}"), String::new())).collect(), ..chair() };
    let paths: Vec<String> = (0..49).map(|n| format!("attributes.a{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    assert_eq!(violations(world.update(many, &paths).await).0, ["sku.attributes"], "49 and the 2 that are there");
    let backorder = wire::SellingPolicy { backorder_limit: 1, ..Default::default() };
    let backorder = wire::Sku { policy: Some(backorder), ..chair() };
    assert_eq!(violations(world.update(backorder.clone(), &["policy"]).await).0, ["sku.policy.locations"]);
    let elsewhere = wire::SellingPolicy { locations: vec!["wh1".into(), "moon".into()], ..Default::default() };
    let elsewhere = wire::Sku { policy: Some(elsewhere), ..chair() };
    let refused = world.update(elsewhere.clone(), &["policy"]).await.unwrap_err();
    assert_eq!(subjects(&refused), ["location/moon"]);
    assert_eq!(reason::<()>(Err(refused)), R::UnknownReference);
    let new = wire::Sku { code: "NEW".into(), ..elsewhere };
    assert_eq!(reason(world.create_sku(new).await), R::UnknownReference);
    assert_eq!(
        violations(world.create_sku(wire::Sku { code: "NEW".into(), ..backorder }).await).0,
        ["sku.policy.locations"]
    );
    assert_eq!(reason(world.update(sku("NEW"), &["name"]).await), R::NotFound);
    assert_eq!(world.sku("CHAIR").await, created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_is_a_date_or_a_time_and_needs_no_backorder_limit() {
    let world = World::new().await;
    let date = Timestamp { seconds: 1_900_000_000, nanos: 0 };
    let dated = wire::SellingPolicy { promise_time: Some(date), ..Default::default() };
    let lead = |seconds| {
        let promise_lead_duration = Some(Duration { seconds, nanos: 0 });
        wire::SellingPolicy { promise_lead_duration, ..Default::default() }
    };
    let both = wire::SellingPolicy { promise_time: Some(date), ..lead(60) };
    let of = |policy: &wire::SellingPolicy| wire::Sku { policy: Some(policy.clone()), ..chair() };
    assert_eq!(violations(world.create_sku(of(&both)).await).0, ["sku.policy.promise_lead_duration"]);
    assert_eq!(world.create_sku(of(&dated)).await.unwrap().policy.as_ref(), Some(&dated));
    let refused = violations(world.update(of(&lead(60)), &["policy.promise_lead_duration"]).await);
    assert_eq!(refused.0, ["sku.policy.promise_lead_duration"], "the date is there already");
    let fields = ["policy.promise_time", "policy.promise_lead_duration"];
    let longest = lead(366 * 86_400);
    assert_eq!(world.update(of(&longest), &fields).await.unwrap().policy, Some(longest));
    for seconds in [0, -1, 366 * 86_400 + 1, i64::MAX] {
        let refused = violations(world.update(of(&lead(seconds)), &fields).await);
        assert_eq!(refused.0, ["sku.policy.promise_lead_duration"], "{seconds}");
    }
    for seconds in [0, -1, 946_684_799, 7_258_118_400, i64::MIN, i64::MAX] {
        let promise_time = Some(Timestamp { seconds, nanos: 0 });
        let policy = wire::SellingPolicy { promise_time, ..Default::default() };
        assert_eq!(violations(world.update(of(&policy), &fields).await).0, ["sku.policy.promise_time"], "{seconds}");
    }
    assert_eq!(world.update(chair(), &fields).await.unwrap().policy, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_of_channels_are_told_in_one_order_and_twenty_are_the_most() {
    let world = World::new().await;
    let of = |channel_caps| {
        let policy = wire::SellingPolicy { channel_caps, ..Default::default() };
        wire::Sku { policy: Some(policy), ..chair() }
    };
    let created = world.create_sku(of(vec![cap("web", 1), cap("app", 2)])).await.unwrap();
    assert_eq!(created.policy.as_ref().unwrap().channel_caps, [cap("app", 2), cap("web", 1)]);
    let same = of(vec![cap("app", 2), cap("web", 1)]);
    assert_eq!(world.update(same, &["policy.channel_caps"]).await.unwrap(), created, "another order is no change");
    let caps = |count: usize| (10..10 + count).map(|n| cap(&format!("channel {n}"), 0)).collect::<Vec<_>>();
    let full = world.update(of(caps(20)), &["policy.channel_caps"]).await.unwrap();
    assert_eq!(full.policy.unwrap().channel_caps, caps(20));
    let refused = violations(world.update(of(caps(21)), &["policy.channel_caps"]).await);
    assert_eq!(refused.0, ["sku.policy.channel_caps"]);
    let long = of(vec![cap(&"x".repeat(129), 0)]);
    assert_eq!(violations(world.update(long, &["policy.channel_caps"]).await).1, 1);
    let fast = wire::SellingPolicy { max_per_minute: 5, ..Default::default() };
    let fast = wire::Sku { policy: Some(fast), ..chair() };
    let changed = world.update(fast, &["policy.max_per_minute"]).await.unwrap().policy.unwrap();
    assert_eq!((changed.max_per_minute, changed.channel_caps.len()), (5, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_with_one_etag_at_once_one_wins() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    let updates: Vec<_> = (0..16)
        .map(|number| {
            let mut client = world.client.clone();
            let sku = wire::Sku { name: format!("number {number}"), etag: created.etag.clone(), ..chair() };
            let update_mask = Some(FieldMask { paths: vec!["name".into()] });
            let request =
                wire::UpdateSkuRequest { request_id: id(), sku: Some(sku), update_mask, validate_only: false };
            tokio::spawn(async move { client.update_sku(request).await })
        })
        .collect();
    let mut won = Vec::new();
    for update in updates {
        match update.await.unwrap() {
            Ok(updated) => won.push(updated.into_inner().sku.unwrap()),
            refused => assert_eq!(reason(refused), R::EtagMismatch),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(world.sku("CHAIR").await, won[0]);
    assert_eq!(won[0].version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_sent_again_answers_what_it_answered_first_and_another_payload_is_refused() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    let request = wire::UpdateSkuRequest {
        request_id: id(),
        sku: Some(wire::Sku { name: "Stuhl".into(), etag: created.etag, ..chair() }),
        update_mask: Some(FieldMask { paths: vec!["name".into(), "gtin".into()] }),
        validate_only: false,
    };
    let first = world.client.clone().update_sku(request.clone()).await.unwrap().into_inner();
    world.archive("CHAIR").await;
    let again = world.client.clone().update_sku(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first, "its etag is an old one by now, and its effect is not made again");
    for paths in [vec!["name"], vec!["name", "gtin", "attributes.x"], vec!["name", "gtin", "policy.max_per_owner"]] {
        let update_mask = Some(FieldMask { paths: paths.into_iter().map(String::from).collect() });
        let other = wire::UpdateSkuRequest { update_mask, ..request.clone() };
        assert_eq!(reason(world.client.clone().update_sku(other).await), R::KeyReused);
    }
    let archive = wire::ArchiveSkuRequest { request_id: request.request_id, code: "CHAIR".into(), etag: String::new() };
    assert_eq!(reason(world.client.clone().archive_sku(archive).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let world = World::new().await;
    let created = world.create_sku(chair()).await.unwrap();
    let request = |name: &str, etag: &str| wire::UpdateSkuRequest {
        request_id: id(),
        sku: Some(wire::Sku { name: name.into(), etag: etag.into(), ..chair() }),
        update_mask: Some(FieldMask { paths: vec!["name".into()] }),
        validate_only: true,
    };
    let would = world.client.clone().update_sku(request("Stuhl", &created.etag)).await.unwrap().into_inner();
    let would = would.sku.unwrap();
    assert_eq!((would.name.as_str(), would.version, would.etag.as_str()), ("Stuhl", 2, ""));
    assert_eq!(reason(world.client.clone().update_sku(request("Stuhl", "0123")).await), R::EtagMismatch);
    assert_eq!(world.sku("CHAIR").await, created);
    assert_eq!(world.number("SELECT count(*) FROM change").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_sku_is_listed_only_on_request_until_it_is_restored() {
    let world = World::new().await;
    world.skus(&["A", "B"]).await;
    let archived = world.archive("A").await;
    assert!(archived.archive_time.is_some());
    assert_eq!(archived.version, 2);
    let list = |show: wire::SkuShow| {
        let filter = Some(wire::SkuFilter { show: show.into(), ..Default::default() });
        let mut client = world.client.clone();
        async move {
            let page = client.list_skus(wire::ListSkusRequest { filter, ..Default::default() }).await.unwrap();
            page.into_inner().skus.into_iter().map(|sku| sku.code).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(wire::SkuShow::Unspecified).await, ["B"]);
    assert_eq!(list(wire::SkuShow::Archived).await, ["A"]);
    assert_eq!(list(wire::SkuShow::All).await, ["A", "B"]);
    let restore = |etag: &str| wire::RestoreSkuRequest { request_id: id(), code: "A".into(), etag: etag.into() };
    assert_eq!(reason(world.client.clone().restore_sku(restore("0")).await), R::EtagMismatch);
    let restored = world.client.clone().restore_sku(restore(&archived.etag)).await.unwrap().into_inner().sku.unwrap();
    assert_eq!((restored.archive_time, restored.version), (None, 3));
    assert_eq!(list(wire::SkuShow::Active).await, ["A", "B"]);
    let nobody = wire::ArchiveSkuRequest { request_id: id(), code: "X".into(), etag: String::new() };
    assert_eq!(reason(world.client.clone().archive_sku(nobody).await), R::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_by_every_filter_and_their_tokens_belong_to_it() {
    let world = World::new().await;
    world.location("l").await;
    world.vendor("v").await;
    world.create_sku(chair()).await.unwrap();
    for (code, colour) in [("A", "red"), ("B", "black"), ("C", "black")] {
        let attributes = HashMap::from([("colour".into(), colour.into())]);
        world.create_sku(wire::Sku { attributes, ..sku(code) }).await.unwrap();
    }
    world.offers(vec![offer("a", "A"), offer("c", "C"), offer("c2", "C")]).await.unwrap();
    world.keep_back("B", 1).await;
    let list = |filter: wire::SkuFilter, page_size: i32, page_token: String| {
        let mut client = world.client.clone();
        let request = wire::ListSkusRequest { filter: Some(filter), page_size, page_token, ..Default::default() };
        async move { client.list_skus(request).await.map(Response::into_inner) }
    };
    let codes = async |filter| {
        let page = list(filter, 0, String::new()).await.unwrap();
        page.skus.into_iter().map(|sku| sku.code).collect::<Vec<_>>().join(" ")
    };
    let black =
        wire::SkuFilter { attributes: HashMap::from([("colour".into(), "black".into())]), ..Default::default() };
    assert_eq!(codes(black.clone()).await, "B C CHAIR");
    assert_eq!(codes(wire::SkuFilter { vendor: "v".into(), ..Default::default() }).await, "A C");
    assert_eq!(codes(wire::SkuFilter { vendor: "v".into(), ..black.clone() }).await, "C");
    assert_eq!(codes(wire::SkuFilter { with_policy: true, ..Default::default() }).await, "B");
    assert_eq!(codes(wire::SkuFilter { gtin: "4006381333931".into(), ..Default::default() }).await, "CHAIR");
    let since = world.sku("B").await.update_time;
    assert_eq!(codes(wire::SkuFilter { changed_since_time: since, ..Default::default() }).await, "B");

    let first = list(black.clone(), 2, String::new()).await.unwrap();
    let token = first.next_page_token;
    assert_eq!(reason(list(wire::SkuFilter::default(), 2, token.clone()).await), R::InvalidPageToken);
    assert_eq!(list(black, 2, token).await.unwrap().skus[0].code, "CHAIR");
    let wrong = wire::SkuFilter {
        show: 17,
        gtin: "1".into(),
        attributes: (0..11).map(|n| (n.to_string(), String::new())).collect(),
        vendor: "a b".into(),
        changed_since_time: Some(Timestamp { seconds: i64::MAX, nanos: -1 }),
        with_policy: false,
    };
    assert_eq!(violations(list(wrong, 0, String::new()).await).1, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn vendors_and_locations_get_new_names_under_the_same_rules() {
    let world = World::new().await;
    world.vendor("v").await;
    world.location("l").await;
    let get = wire::GetVendorRequest { code: "v".into() };
    let before = world.client.clone().get_vendor(get).await.unwrap().into_inner().vendor.unwrap();
    let request = |name: &str, etag: &str, path: &str| wire::UpdateVendorRequest {
        request_id: id(),
        vendor: Some(wire::Vendor { code: "v".into(), name: name.into(), etag: etag.into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec![path.into()] }),
    };
    let update = async |request| world.client.clone().update_vendor(request).await.map(Response::into_inner);
    let renamed = update(request("Acme", &before.etag, "name")).await.unwrap().vendor.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.create_time), ("Acme", before.create_time));
    assert_ne!(renamed.etag, before.etag);
    assert_eq!(update(request("Acme", "", "name")).await.unwrap().vendor, Some(renamed), "nothing changed");
    assert_eq!(reason(update(request("Other", &before.etag, "name")).await), R::EtagMismatch);
    assert_eq!(violations(update(request("Other", "", "code")).await).0, ["update_mask.paths[0]"]);
    let location = |code: &str| wire::UpdateLocationRequest {
        request_id: id(),
        location: Some(wire::Location { code: code.into(), name: "Lager".into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["name".into()] }),
    };
    let mut client = world.client.clone();
    let renamed = client.update_location(location("l")).await.unwrap().into_inner().location.unwrap();
    assert_eq!(renamed.name, "Lager");
    assert_eq!(reason(client.update_location(location("x")).await), R::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_offers_count_as_changes_of_their_sku() {
    let world = World::new().await;
    world.vendor("v").await;
    world.location("l").await;
    world.skus(&["A", "B"]).await;
    world.offers(vec![offer("1", "A"), offer("2", "A"), offer("3", "B")]).await.unwrap();
    assert_eq!((world.sku("A").await.version, world.sku("B").await.version), (2, 2), "once for a request");
    world.offers(vec![offer("1", "A")]).await.unwrap();
    assert_eq!(world.sku("A").await.version, 2, "that offer was there");
    let gone = world.delete_offers(vec![offer("1", ""), offer("1", ""), offer("9", "")]).await;
    assert_eq!((gone.deleted, gone.missing), (1, 2));
    assert_eq!((world.sku("A").await.version, world.sku("B").await.version), (3, 2));
    let gone = world.delete_offers(vec![offer("1", "")]).await;
    assert_eq!((gone.deleted, gone.missing), (0, 1));
    assert_eq!(world.sku("A").await.version, 3);
    // Removed, the vendor's code may be another SKU's.
    world.offers(vec![offer("1", "B")]).await.unwrap();
    assert_eq!(world.sku("B").await.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_changed_from_all_sides_at_once_never_wait_for_each_other_for_ever() {
    let world = World::new().await;
    world.vendor("v").await;
    world.location("l").await;
    world.skus(&["A", "B", "C"]).await;
    let mut changes = Vec::new();
    for turn in 0..12 {
        let mut client = world.client.clone();
        let mut offers = vec![offer("1", "A"), offer("2", "B"), offer("3", "C")];
        offers.rotate_left(turn % 3);
        changes.push(tokio::spawn(async move {
            if turn % 2 == 0 {
                let request = wire::BatchCreateOffersRequest { request_id: id(), offers };
                client.batch_create_offers(request).await.map(drop)
            } else {
                let request = wire::BatchDeleteOffersRequest { request_id: id(), offers };
                client.batch_delete_offers(request).await.map(drop)
            }
        }));
    }
    for change in changes {
        change.await.unwrap().unwrap();
    }
    let versions = world.number("SELECT count(DISTINCT version) FROM sku").await;
    assert_eq!(versions, 1, "each request changed all three or none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_has_a_thousand_offers_and_no_more() {
    let world = World::new().await;
    world.vendor("v").await;
    world.location("l").await;
    world.skus(&["A"]).await;
    let all: Vec<_> = (0..1000).map(|number| offer(&number.to_string(), "A")).collect();
    world.offers(all).await.unwrap();
    assert_eq!(violations(world.offers(vec![offer("more", "A")]).await).0, ["offers"]);
    assert_eq!(world.sku("A").await.version, 2);
}

//! BatchReserve: several carts at once, each with its own outcome.

use holdfast_api::reservation::v1 as pb;
use holdfast_kit::ErrorReason;
use pb::batch_reserve_result::Outcome;

use crate::world::{Options, World, ask, fields, published_becomes, reason, test, test_with};

async fn send(world: &World, requests: Vec<pb::ReserveRequest>) -> Vec<pb::BatchReserveResult> {
    let request = pb::BatchReserveRequest { requests };
    world.reservations().batch_reserve(request).await.unwrap().into_inner().results
}

fn held(result: &pb::BatchReserveResult) -> &pb::ReserveResponse {
    match result.outcome.as_ref().unwrap() {
        Outcome::Reserved(held) => held,
        Outcome::Failure(failure) => panic!("{failure:?}"),
    }
}

fn failure(result: &pb::BatchReserveResult) -> &pb::BatchFailure {
    match result.outcome.as_ref().unwrap() {
        Outcome::Failure(failure) => failure,
        Outcome::Reserved(held) => panic!("{held:?}"),
    }
}

#[test]
fn every_cart_has_its_own_outcome_in_the_order_asked() {
    test(async |world| {
        world.count("CHAIR", 3).await;
        world.count("TABLE", 9).await;
        let mut bad = ask(&[("CHAIR", 0), ("GHOST", 1)]);
        bad.owner = String::new();
        let requests = vec![
            ask(&[("TABLE", 1)]),
            ask(&[("CHAIR", 4), ("TABLE", 1)]),
            bad,
            ask(&[("GHOST", 1)]),
            pb::ReserveRequest { mode: pb::ReserveMode::BestEffort.into(), ..ask(&[("CHAIR", 4)]) },
        ];
        let results = send(world, requests.clone()).await;
        let ids = |of: &[pb::BatchReserveResult]| of.iter().map(|r| r.reservation_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&results), requests.iter().map(|r| r.reservation_id.clone()).collect::<Vec<_>>());
        assert!(!held(&results[0]).replayed);
        let short = failure(&results[1]);
        assert_eq!(
            (short.reason(), short.code),
            (ErrorReason::InsufficientStock, tonic::Code::FailedPrecondition.into())
        );
        assert_eq!((short.shortages[0].sku.as_str(), short.shortages[0].requested_quantity), ("CHAIR", 4));
        assert!(short.shortages[0].available_quantity <= 3 && !short.message.is_empty());
        let wrong = failure(&results[2]);
        assert_eq!(wrong.reason(), ErrorReason::InvalidField);
        assert_eq!(wrong.fields, ["owner", "lines[0].quantity", "lines[1].sku"]);
        let unknown = failure(&results[3]);
        assert_eq!(
            (unknown.reason(), unknown.fields.as_slice()),
            (ErrorReason::UnknownSku, &["lines[0].sku".to_owned()][..])
        );
        assert_eq!(held(&results[4]).reservation.as_ref().unwrap().lines[0].quantity, 3);
        // Sent again, what landed is replayed.
        let again = send(world, requests).await;
        assert!(held(&again[0]).replayed && held(&again[4]).replayed);
        assert_eq!(held(&again[0]).reservation, held(&results[0]).reservation);
        assert_eq!(world.level("TABLE").await.held, 1);
    });
}

#[test]
fn a_whole_batch_lands_and_none_of_it_twice() {
    test(async |world| {
        world.count("CHAIR", 1_000).await;
        let requests: Vec<_> = (0..100).map(|_| ask(&[("CHAIR", 1)])).collect();
        let (one, two) = tokio::join!(send(world, requests.clone()), send(world, requests));
        let fresh = one.iter().chain(&two).filter(|result| !held(result).replayed).count();
        assert_eq!((fresh, world.level("CHAIR").await.held), (100, 100));
    });
}

#[test]
fn carts_of_one_batch_do_not_go_beyond_a_limit_together() {
    test(async |world| {
        let policy = |sku: &str| pb::SkuPolicy { sku: sku.into(), version: 1, ..Default::default() };
        let cap = pb::ChannelCap { channel: "market".into(), quantity: 5 };
        for (policy, why) in [
            (pb::SkuPolicy { max_per_owner: 5, ..policy("OWNER") }, ErrorReason::LimitExceeded),
            (pb::SkuPolicy { channel_caps: vec![cap], ..policy("CHANNEL") }, ErrorReason::LimitExceeded),
            (pb::SkuPolicy { max_per_minute: 5, ..policy("MINUTE") }, ErrorReason::SellingPaused),
        ] {
            let sku = policy.sku.clone();
            world.count(&sku, 100).await;
            world.stock().apply_policies(pb::ApplyPoliciesRequest { policies: vec![policy] }).await.unwrap();
            published_becomes(world, &sku, 100).await;
            let cart = || pb::ReserveRequest { channel: "market".into(), ..ask(&[(&sku, 2)]) };
            let results = send(world, (0..20).map(|_| cart()).collect()).await;
            let refused = results.iter().filter(|result| matches!(result.outcome, Some(Outcome::Failure(_))));
            let reasons: Vec<_> = refused.map(|result| failure(result).reason()).collect();
            assert_eq!(reasons, [why; 18], "{sku}");
            assert_eq!(world.level(&sku).await.held, 4, "{sku}");
        }
    });
}

#[test]
fn a_list_that_is_wrong_does_nothing() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        let batch = |requests| pb::BatchReserveRequest { requests };
        let mut client = world.reservations();
        assert_eq!(fields(client.batch_reserve(batch(vec![])).await), ["requests"]);
        let many = (0..101).map(|_| ask(&[("CHAIR", 1)])).collect();
        assert_eq!(fields(client.batch_reserve(batch(many)).await), ["requests"]);
        let one = ask(&[("CHAIR", 1)]);
        let mut same = ask(&[("CHAIR", 2)]);
        same.reservation_id = one.reservation_id.to_uppercase();
        let twice = batch(vec![one, ask(&[("CHAIR", 1)]), same]);
        assert_eq!(fields(client.batch_reserve(twice.clone()).await), ["requests[2].reservation_id"]);
        assert_eq!(reason(client.batch_reserve(twice).await), ErrorReason::InvalidField);
        assert_eq!(world.level("CHAIR").await.held, 0);
    });
}

#[test]
fn one_cart_that_is_shed_leaves_the_others() {
    let settings = vec![("LIMITER__REQUESTS_MAX", "1".to_owned()), ("LIMITER__REQUESTS_PER_SKU_MAX", "1".to_owned())];
    test_with(Options { settings, ..Options::default() }, async |world| {
        world.count("CHAIR", 100).await;
        // Dry runs go past the gate, where there is one place.
        let dry = || pb::ReserveRequest { validate_only: true, ..ask(&[("CHAIR", 1)]) };
        let requests: Vec<_> = (0..12).flat_map(|_| [dry(), ask(&[("CHAIR", 1)])]).collect();
        let real: Vec<_> = requests.iter().map(|request| !request.validate_only).collect();
        let mut units = 0;
        for (result, is_real) in send(world, requests).await.into_iter().zip(real) {
            match result.outcome.unwrap() {
                Outcome::Reserved(_) => units += i64::from(is_real),
                Outcome::Failure(failure) => {
                    assert_eq!(failure.reason(), ErrorReason::Overloaded);
                    assert!(failure.retry_delay.is_some());
                }
            }
        }
        assert!(units > 0);
        assert_eq!(world.level("CHAIR").await.held, units);
    });
}

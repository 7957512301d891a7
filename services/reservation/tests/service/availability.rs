//! What could be reserved, and from where that is known.

use holdfast_api::reservation::v1 as pb;

use crate::world::{published_becomes, test};

fn ask(skus: &[&str], source: pb::ReadSource) -> pb::BatchGetAvailabilityRequest {
    pb::BatchGetAvailabilityRequest { skus: skus.iter().map(|sku| (*sku).to_owned()).collect(), source: source.into() }
}

#[test]
fn every_sku_asked_for_is_answered_in_order_and_says_where_it_was_read() {
    test(async |world| {
        world.count_at("CHAIR", "west", 3).await;
        world.count_at("CHAIR", "east", 4).await;
        world.hold("CHAIR", 2).await;
        let record = ask(&["GHOST", "CHAIR", "GHOST"], pb::ReadSource::Record);
        let results = world.stock().batch_get_availability(record).await.unwrap().into_inner().results;
        let known: Vec<_> = results.iter().map(|r| (r.sku.as_str(), r.known, r.available, r.source())).collect();
        let source = pb::ReadSource::Record;
        assert_eq!(known, [("GHOST", false, 0, source), ("CHAIR", true, 5, source), ("GHOST", false, 0, source)]);
        assert_eq!(results[1].staleness_max, Some(prost_types::Duration::default()));
        let places: Vec<_> = results[1].locations.iter().map(|l| (l.location.as_str(), l.available)).collect();
        assert_eq!(places, [("east", 2), ("west", 3)]);
    });
}

#[test]
fn the_cache_converges_to_the_record_and_says_how_stale_it_may_be() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        world.hold("CHAIR", 2).await;
        published_becomes(world, "CHAIR", 7).await;
        let results = world
            .stock()
            .batch_get_availability(ask(&["CHAIR"], pb::ReadSource::Cache))
            .await
            .unwrap()
            .into_inner()
            .results;
        assert!(results[0].staleness_max.unwrap().seconds >= 4, "two passes of the reconciler and the number's age");
        assert!(results[0].read_time.is_some());
    });
}

#[test]
fn a_wiped_redis_is_unknown_rather_than_zero() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        published_becomes(world, "CHAIR", 9).await;
        world.wipe_redis().await;
        let results = world
            .stock()
            .batch_get_availability(ask(&["CHAIR"], pb::ReadSource::Cache))
            .await
            .unwrap()
            .into_inner()
            .results;
        assert_eq!((results[0].available, results[0].source()), (9, pb::ReadSource::Record));
        published_becomes(world, "CHAIR", 9).await;
    });
}

#[test]
fn a_counter_that_somebody_spoiled_is_put_right() {
    test(async |world| {
        world.count("CHAIR", 9).await;
        published_becomes(world, "CHAIR", 9).await;
        let url = world.redis.lock().await.admin_url();
        let mut redis = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let key = "hf:a:{CHAIR}";
        let fields: Vec<String> = redis::cmd("HKEYS").arg(key).query_async(&mut redis).await.unwrap();
        let field = fields.iter().find(|field| field.ends_with("main")).expect("the location's field");
        let () = redis::cmd("HSET").arg(key).arg(field).arg(0).query_async(&mut redis).await.unwrap();
        // Nobody is turned away meanwhile.
        world.hold("CHAIR", 1).await;
        published_becomes(world, "CHAIR", 8).await;
        let () = redis::cmd("HSET").arg(key).arg(field).arg(5_000).query_async(&mut redis).await.unwrap();
        assert!(world.reserve("CHAIR", 50).await.is_err(), "nobody is oversold meanwhile");
        published_becomes(world, "CHAIR", 8).await;
    });
}

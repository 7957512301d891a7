//! Who is let through.

use super::world::{
    MISSING, World, answers, cart, granted, id, is_granted, locations, publish, sku, take, touched, whole, world,
};
use holdfast_reservation::gate::{Carts, Gate, Taken};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Asks for all of these at once, each under its own id; gives how many units of each SKU were granted.
async fn race(gate: &Gate, carts: Vec<Vec<(String, i64)>>) -> BTreeMap<String, i64> {
    let mut buyers = JoinSet::new();
    for (number, lines) in carts.into_iter().enumerate() {
        let gate = gate.clone();
        buyers.spawn(async move {
            let wanted = lines.iter().map(|(text, units)| (text.as_str(), *units)).collect::<Vec<_>>();
            match take(&gate, number as u128, &wanted).await {
                Taken::Granted(_) => lines,
                Taken::Refused => Vec::new(),
                Taken::Unknown(cause) => panic!("unknown: {cause:?}"),
            }
        });
    }
    let mut units = BTreeMap::new();
    while let Some(lines) = buyers.join_next().await {
        for (text, taken) in lines.unwrap() {
            *units.entry(text).or_default() += taken;
        }
    }
    units
}

/// The takes of a SKU, added up, and their sum as it is kept beside them.
async fn takes_of(world: &World, text: &str) -> (i64, i64) {
    let members: Vec<String> = world.ask(&format!("ZRANGE hf:t:{{{text}}} 0 -1")).await;
    let sum: Option<i64> = world.ask(&format!("HGET hf:a:{{{text}}} taken")).await;
    (members.iter().map(|member| member.rsplit(':').next().unwrap().parse::<i64>().unwrap()).sum(), sum.unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_at_once_are_never_granted_more_than_is_free() {
    let world = world().await;
    let gate = world.gate().await;
    gate.publish(vec![whole("HOT", &[("WH-1", 100), ("WH-2", 50)])]).await.unwrap();
    let units = race(&gate, (0..2_000).map(|_| vec![("HOT".to_owned(), 1)]).collect()).await;
    assert_eq!(units["HOT"], 150, "all units are granted, and no more");
    assert_eq!(takes_of(&world, "HOT").await, (150, 150));
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_of_different_quantities_are_never_granted_more_than_is_free() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "HOT", 100).await;
    let units = race(&gate, (0..300).map(|n| vec![("HOT".to_owned(), 1 + n % 7)]).collect()).await;
    assert_eq!(units["HOT"], 100, "ones fill what the larger leave");
    assert_eq!(takes_of(&world, "HOT").await, (100, 100));
}

async fn carts_that_overlap(carts: Carts) {
    let world = world().await;
    let gate = world.gate_with(|config| config.carts = carts).await;
    for text in ["A", "B", "C"] {
        publish(&gate, text, 20).await;
    }
    let pairs = [["A", "B"], ["B", "A"], ["B", "C"], ["C", "A"]];
    let lines = pairs.iter().cycle().zip((1..=3).cycle());
    let lines = lines.map(|(pair, units)| pair.map(|text| (text.to_owned(), units)).to_vec());
    let units = race(&gate, lines.take(200).collect()).await;
    for text in ["A", "B", "C"] {
        assert!(units[text] <= 20, "{units:?}");
        assert_eq!(takes_of(&world, text).await, (units[text], units[text]), "{text}: nothing but what was granted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_carts_in_one_call_take_all_or_nothing() {
    carts_that_overlap(Carts::OneCall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_carts_sku_by_sku_take_all_or_nothing() {
    carts_that_overlap(Carts::SkuBySku).await;
}

#[tokio::test]
async fn a_cart_with_one_short_sku_takes_nothing() {
    let world = world().await;
    for carts in world.carts() {
        let gate = world.gate_with(|config| config.carts = carts).await;
        publish(&gate, "A", 5).await;
        publish(&gate, "B", 1).await;
        assert_eq!(take(&gate, 1, &[("A", 5), ("B", 2)]).await, Taken::Refused);
        assert_eq!(takes_of(&world, "A").await, (0, 0), "{carts:?}");
        assert_eq!(takes_of(&world, "B").await, (0, 0), "{carts:?}");
    }
}

#[tokio::test]
async fn a_cart_with_one_unknown_sku_is_unknown_and_takes_nothing() {
    let world = world().await;
    for carts in world.carts() {
        let gate = world.gate_with(|config| config.carts = carts).await;
        publish(&gate, "A", 5).await;
        assert_eq!(take(&gate, 1, &[("A", 1), ("NEVER-SEEN", 1)]).await, MISSING);
        assert_eq!(takes_of(&world, "A").await, (0, 0), "{carts:?}");
        assert_eq!(
            take(&gate, 1, &[("A", 9), ("NEVER-SEEN", 1)]).await.clone(),
            match carts {
                Carts::OneCall => MISSING,
                Carts::SkuBySku | Carts::Auto => Taken::Refused,
            }
        );
    }
}

#[tokio::test]
async fn a_grant_tells_where_the_units_were_last_published() {
    let world = world().await;
    let gate = world.gate().await;
    gate.publish(vec![whole("A", &[("NEAR", 1), ("FAR", 7)]), whole("B", &[("FAR", 2)])]).await.unwrap();
    let Taken::Granted(skus) = take(&gate, 1, &[("A", 3), ("B", 2)]).await else { panic!("not granted") };
    assert_eq!(skus[&sku("A")], locations(&[("NEAR", 1), ("FAR", 7)]), "in the order of publishing");
    assert_eq!(skus[&sku("B")], locations(&[("FAR", 2)]));
}

#[tokio::test]
async fn the_same_reservation_is_granted_again_and_takes_nothing_more() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 3).await;
    publish(&gate, "B", 3).await;
    assert!(granted(&gate, 1, &[("A", 3)]).await);
    let lapse: i64 = world.ask("ZSCORE hf:t:{A} 00000000000000000000000000000001:3").await;
    assert!(granted(&gate, 1, &[("A", 3)]).await, "its own take does not stand in its way");
    assert!(granted(&gate, 1, &[("A", 3), ("B", 2)]).await, "nor when a part of the cart is new");
    assert_eq!(takes_of(&world, "A").await, (3, 3));
    assert_eq!(takes_of(&world, "B").await, (2, 2));
    assert_eq!(
        world.ask::<i64>("ZSCORE hf:t:{A} 00000000000000000000000000000001:3").await,
        lapse,
        "nothing is renewed"
    );
    assert!(!granted(&gate, 2, &[("A", 1)]).await);
}

#[tokio::test]
async fn a_take_lapses_by_itself_and_its_units_are_free_again() {
    let world = world().await;
    let gate = world
        .gate_with(|config| {
            config.response_timeout_ms = 100;
            config.take_lapse_ms = 150;
        })
        .await;
    publish(&gate, "A", 1).await;
    answers(&gate, &[("A", 1)], is_granted).await;
    answers(&gate, &[("A", 1)], |taken| *taken == Taken::Refused).await;
    answers(&gate, &[("A", 1)], is_granted).await;
}

#[tokio::test]
async fn a_take_that_lapsed_but_lies_there_still_is_renewed_for_its_own_reservation() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 2).await;
    // More lapsed takes than one call drops, the reservation's own the last of them.
    seed_lapsed_takes(&world, "A", 1_500).await;
    world.ask::<i64>(&format!("ZADD hf:t:{{A}} 5000 {:032x}:2", 1)).await;
    world.ask::<i64>("HINCRBY hf:a:{A} taken 2").await;
    assert!(granted(&gate, 1, &[("A", 2)]).await);
    let lapse: i64 = world.ask(&format!("ZSCORE hf:t:{{A}} {:032x}:2", 1)).await;
    let [seconds, _]: [i64; 2] = world.ask("TIME").await;
    assert!(lapse > seconds * 1_000);
    assert_eq!(takes_of(&world, "A").await, (478, 478), "1,500 and 2 less 1,024");
}

/// Takes of one unit that lapsed long ago.
async fn seed_lapsed_takes(world: &World, text: &str, count: usize) {
    let members: Vec<String> = (0..count).map(|n| format!("{n} {:032x}:1", n + 1_000_000)).collect();
    world.ask::<i64>(&format!("ZADD hf:t:{{{text}}} {}", members.join(" "))).await;
    world.ask::<i64>(&format!("HSET hf:a:{{{text}}} taken {count}")).await;
}

#[tokio::test]
async fn lapsed_takes_are_dropped_in_bounded_portions() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 1).await;
    publish(&gate, "B", 1).await;
    seed_lapsed_takes(&world, "A", 1_500).await;
    seed_lapsed_takes(&world, "B", 1_500).await;
    assert!(!granted(&gate, 1, &[("A", 1), ("B", 1)]).await);
    assert_eq!(takes_of(&world, "A").await, (476, 476), "the first call drops 1,024 in all");
    assert_eq!(takes_of(&world, "B").await, (1_500, 1_500));
    assert!(!granted(&gate, 1, &[("A", 1), ("B", 1)]).await);
    assert!(granted(&gate, 1, &[("A", 1), ("B", 1)]).await, "the third has dropped them all");
    assert_eq!(takes_of(&world, "A").await, (1, 1));
}

#[tokio::test]
async fn units_given_back_after_a_commit_can_be_taken_by_someone_else() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    assert!(granted(&gate, 1, &[("A", 3)]).await);
    assert!(granted(&gate, 2, &[("A", 2)]).await);
    // Number 1 holds its units now, so they are not available; number 2 gave up.
    gate.publish(vec![touched("A", &[("WH", 2)], &[(1, 3), (2, 2), (3, 9)])]).await.unwrap();
    assert_eq!(takes_of(&world, "A").await, (0, 0));
    assert!(!granted(&gate, 4, &[("A", 3)]).await);
    assert!(granted(&gate, 5, &[("A", 2)]).await);
}

#[tokio::test]
async fn giving_back_twice_frees_no_unit_twice() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 5).await;
    assert!(granted(&gate, 1, &[("A", 2)]).await);
    assert!(granted(&gate, 2, &[("A", 3)]).await);
    for _ in 0..2 {
        gate.publish(vec![touched("A", &[], &[(1, 2)])]).await.unwrap();
        assert_eq!(takes_of(&world, "A").await, (3, 3));
    }
}

#[tokio::test]
async fn takes_nobody_touches_any_more_go_away_by_themselves() {
    let world = world().await;
    let gate = world.gate_with(|config| config.take_lapse_ms = 20_000).await;
    publish(&gate, "A", 2).await;
    assert!(granted(&gate, 1, &[("A", 2)]).await);
    let remains_ms: i64 = world.ask("PTTL hf:t:{A}").await;
    assert!((60_000..=80_000).contains(&remains_ms), "{remains_ms} ms: a minute after the last take lapsed");
    // As if that time had passed: the sum stands, the set is gone.
    world.ask::<i64>("DEL hf:t:{A}").await;
    assert!(granted(&gate, 2, &[("A", 2)]).await, "an empty set is nothing taken, whatever the sum says");
    assert_eq!(takes_of(&world, "A").await, (2, 2));
}

#[tokio::test]
async fn a_missing_or_unreadable_sum_of_takes_is_added_up_anew() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", 10).await;
    assert!(granted(&gate, 1, &[("A", 4)]).await);
    for (number, breakage) in
        ["HDEL hf:a:{A} taken", "HSET hf:a:{A} taken many", "HSET hf:a:{A} taken -3"].iter().enumerate()
    {
        let number = number as u128 + 10;
        world.try_ask::<redis::Value>(breakage).await.unwrap();
        assert!(!granted(&gate, number, &[("A", 7)]).await, "{breakage}");
        assert!(granted(&gate, number, &[("A", 1)]).await, "{breakage}");
        gate.publish(vec![touched("A", &[], &[(number, 1)])]).await.unwrap();
    }
    assert_eq!(takes_of(&world, "A").await, (4, 4));
}

#[tokio::test]
async fn odd_names_neither_break_nor_share_their_keys() {
    let world = world().await;
    let gate = world.gate().await;
    let odd = [
        "A",
        "A}",
        "{A}",
        "{",
        "}",
        "%7B",
        "%",
        "%25",
        "A B",
        "日本 椅子",
        "Ünï-çødé",
        "a:b|c*?[x]",
        "\"'\\",
        "l:x",
        "at",
    ];
    for (units, text) in (1..).zip(odd) {
        gate.publish(vec![whole(text, &[(text, units)])]).await.unwrap();
    }
    for ((units, number), text) in (1..).zip(1_u128..).zip(odd) {
        assert!(!granted(&gate, number, &[(text, units + 1)]).await, "{text}");
        let taken = take(&gate, number, &[(text, units)]).await;
        assert_eq!(taken, Taken::Granted(BTreeMap::from([(sku(text), locations(&[(text, units)]))])), "{text}");
    }
    let all: Vec<(&str, i64)> = odd.iter().map(|text| (*text, 1)).collect();
    assert_eq!(gate.take(id(999), &cart(&all)).await, Taken::Refused, "one cart of them all");
}

#[tokio::test]
async fn numbers_too_large_for_doubles_do_not_wrap() {
    let world = world().await;
    let gate = world.gate().await;
    publish(&gate, "A", i64::MAX).await;
    assert!(granted(&gate, 1, &[("A", 1_000_000)]).await);
    assert!(granted(&gate, 2, &[("A", 900_000_000_000_000_000)]).await);
    assert!(!granted(&gate, 3, &[("A", i64::MAX)]).await);
}

#[tokio::test]
async fn an_unpublished_sku_is_unknown_until_all_of_it_is_published() {
    let world = world().await;
    let gate = world.gate().await;
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, MISSING);
    gate.publish(vec![touched("A", &[("WH", 5)], &[])]).await.unwrap();
    assert_eq!(take(&gate, 1, &[("A", 1)]).await, MISSING, "one location may not be all");
    publish(&gate, "A", 5).await;
    assert!(granted(&gate, 1, &[("A", 1)]).await);
    assert_eq!(world.ask::<Vec<String>>("KEYS *").await.len(), 2, "the two keys of one SKU");
}

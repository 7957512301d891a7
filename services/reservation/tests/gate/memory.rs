//! What the gate costs in memory.

use crate::world::{World, granted, location, sku, touched, whole, world};
use holdfast_reservation::gate::Publish;
use holdfast_stock::UnixMicros;

const SKUS: usize = 100_000;

async fn used_memory(world: &World) -> usize {
    let info: String = world.ask("INFO memory").await;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn a_sku_at_rest_takes_at_most_250_bytes() {
    let world = world().await;
    let gate = world.gate_with(|config| config.batch_skus_max = 1_000).await;
    gate.publish(vec![whole("SKU-WARMUP-00", &[("WH-MAIN", 1)])]).await.unwrap();
    let before = used_memory(&world).await;
    let skus: Vec<String> = (0..SKUS).map(|n| format!("CHAIR-ERGO-{n:06}")).collect();
    let updates = skus.iter().zip(1..).map(|(text, n)| Publish {
        sku: sku(text),
        read_at: UnixMicros(1_790_000_000_000_000 + n),
        locations: vec![(location("WH-MAIN"), 1 + n % 2_000)],
        ..whole(text, &[])
    });
    gate.publish(updates.collect()).await.unwrap();
    let bytes = (used_memory(&world).await - before) / SKUS;
    println!("{bytes} bytes per SKU at rest");
    assert!(bytes <= 250, "{bytes} bytes per SKU");

    // A take comes and goes and leaves nothing behind.
    let last = skus.last().unwrap();
    let at_rest: usize = world.ask(&format!("MEMORY USAGE hf:a:{{{last}}}")).await;
    assert!(granted(&gate, 1, &[(last, 1)]).await);
    gate.publish(vec![touched(last, &[], &[(1, 1)])]).await.unwrap();
    assert_eq!(world.ask::<usize>(&format!("MEMORY USAGE hf:a:{{{last}}}")).await, at_rest);
    assert!(!world.ask::<bool>(&format!("EXISTS hf:t:{{{last}}}")).await);
}

#[tokio::test]
async fn small_skus_stay_in_the_compact_form() {
    let world = world().await;
    let gate = world.gate().await;
    let names: Vec<String> = (0..20).map(|n| format!("LOCATION-{n:050}")).collect();
    let units: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 5)).collect();
    gate.publish(vec![whole("A", &units)]).await.unwrap();
    for number in 0..100 {
        assert!(granted(&gate, number, &[("A", 1)]).await);
    }
    assert_eq!(world.ask::<String>("OBJECT ENCODING hf:a:{A}").await, "listpack");
    assert_eq!(world.ask::<String>("OBJECT ENCODING hf:t:{A}").await, "listpack");
}

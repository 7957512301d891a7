//! Redis Cluster by TLS: nodes are trusted by the names that the cluster itself tells, wherever a slot, a master or a redirection leads.

use crate::access::{authority, certificate, write};
use crate::log;
use crate::world::{LAMPS_NODE, World, answers, granted, is_granted, publish, reaches, secured_world, touched, whole};
use holdfast_reservation::gate::{Gate, GateConfig, GateState};
use holdfast_stack::redis_cluster::ClusterTls;
use holdfast_testkit::eventually;
use secrecy::SecretString;
use tempfile::TempDir;

/// A SKU on each of three masters, in their order.
const SKUS: [&str; 3] = ["LAST", "LAMP", "DESK"];
const LAMPS_SLOT: u16 = 10_838;
const DESKS_NODE: usize = 2;

/// A cluster, and where its authority's certificate lies.
struct Secured {
    world: World,
    folder: TempDir,
}

/// A cluster whose nodes show a certificate for these names, and are told of by a host name or by their address.
async fn secured(masters: usize, replicas_each: usize, names: &[&str], hostname: Option<&str>) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let (certificate, key) = certificate(&authority, names);
    let tls = ClusterTls {
        certificate: write(&folder, "redis.pem", &certificate),
        key: write(&folder, "redis.key", &key),
        authority: write(&folder, "ca.pem", &authority.pem()),
        hostname: hostname.map(str::to_owned),
    };
    Secured { world: secured_world(masters, replicas_each, tls).await, folder }
}

impl Secured {
    /// A gate that is told of all nodes by this host name.
    async fn gate(&self, host: &str, change: impl FnOnce(&mut GateConfig)) -> Gate {
        let ports = self.world.cluster.as_ref().unwrap().tls_ports();
        let nodes: Vec<String> = ports.iter().map(|port| format!("{host}:{port}")).collect();
        let url = SecretString::from(format!("rediss://limited:p4ss@{}", nodes.join(",")));
        let ca_file = self.folder.path().join("ca.pem");
        self.world
            .gate_with(|config| {
                config.url = url;
                config.ca_file = ca_file;
                change(config);
            })
            .await
    }

    /// Moves a slot behind the gate's back, and there is a unit to be had all the same.
    async fn moves_a_slot(&self, gate: &Gate) {
        let moved = self.world.redirects("moved");
        let cluster = self.world.cluster.as_ref().unwrap();
        cluster.move_slot(LAMPS_SLOT, LAMPS_NODE, DESKS_NODE).await.unwrap();
        gate.publish(vec![touched("LAMP", &[], &[])]).await.unwrap();
        answers(gate, &[("LAMP", 1)], is_granted).await;
        assert!(self.world.redirects("moved") > moved, "nobody was pointed elsewhere, so this says nothing");
        assert_eq!(gate.state(), GateState::Up);
    }
}

async fn publish_all(gate: &Gate) {
    gate.publish(SKUS.map(|text| whole(text, &[("WH", 100)])).to_vec()).await.unwrap();
}

#[tokio::test]
async fn masters_replicas_and_redirections_are_followed_by_tls() {
    let mut secured = secured(3, 1, &["127.0.0.1"], None).await;
    let gate = secured.gate("127.0.0.1", |_| {}).await;
    assert_eq!((gate.state(), gate.shards()), (GateState::Up, 3));
    publish_all(&gate).await;
    assert!(granted(&gate, 1, &SKUS.map(|text| (text, 1))).await);
    assert_eq!(secured.world.redirects("moved"), 0.0, "nothing was asked for in the wrong place");
    secured.moves_a_slot(&gate).await;

    // What a replica has not heard of yet is lost with its master.
    let cluster = secured.world.cluster.as_mut().unwrap();
    eventually("the replica has what was published", crate::world::PATIENCE, || async {
        cluster.ask::<i64>(3, &["DBSIZE"]).await.is_ok_and(|keys| keys > 0).then_some(())
    })
    .await;
    cluster.node(0).stop().await.unwrap();
    cluster.becomes_master(3).await.unwrap();
    answers(&gate, &[("LAST", 1)], is_granted).await;
    reaches(&gate, GateState::Up).await;
    assert_eq!(gate.shards(), 3, "the one that was killed is none any more");
}

#[tokio::test]
async fn nodes_that_are_told_of_by_name_are_trusted_by_name() {
    let secured = secured(3, 0, &["localhost"], Some("localhost")).await;
    let gate = secured.gate("localhost", |_| {}).await;
    assert_eq!((gate.state(), gate.shards()), (GateState::Up, 3));
    publish_all(&gate).await;
    assert!(granted(&gate, 1, &SKUS.map(|text| (text, 1))).await);
    secured.moves_a_slot(&gate).await;
}

#[tokio::test]
async fn nodes_that_cannot_be_trusted_are_not_asked_and_the_log_says_why() {
    // Its certificate is for its name, and the cluster tells clients its address.
    let secured = secured(1, 0, &["localhost"], None).await;
    let heard = log::listen();
    let gate = secured.gate("localhost", |_| {}).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("not valid for name \"127.0.0.1\""), "{}", heard.text());
    assert!(heard.text().contains("cluster-preferred-endpoint-type"), "what to do about it: {}", heard.text());

    let heard = log::listen();
    let other = write(&secured.folder, "other.pem", &authority().pem());
    let gate = secured.gate("localhost", |config| config.ca_file = other).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("the Redis cluster cannot be found"), "{}", heard.text());
    assert!(heard.text().contains("invalid peer certificate"), "{}", heard.text());
    assert!(!heard.text().contains("gate.url begins"), "no guess is needed: {}", heard.text());

    // And by those without TLS it is told as what it is.
    let heard = log::listen();
    let port = secured.world.cluster.as_ref().unwrap().tls_ports()[0];
    let url = SecretString::from(format!("redis://limited:p4ss@localhost:{port}"));
    let gate = secured.world.gate_with(|config| config.url = url).await;
    assert_eq!(gate.state(), GateState::Down);
    assert!(heard.text().contains("gate.url begins with rediss://"), "{}", heard.text());
    assert!(!heard.text().contains("p4ss"), "{}", heard.text());
    publish(&secured.world.gate().await, "A", 1).await;
}

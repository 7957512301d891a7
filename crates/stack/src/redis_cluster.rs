//! A private Redis Cluster on 127.0.0.1: masters, replicas, slots that can be moved while somebody buys.
//!
//! A shard that is lost stays lost until somebody brings it back (`cluster-require-full-coverage no`), and a master that died is followed by its replica within a second or two.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Result, StackError};
use crate::ports::Port;
use crate::programs::RedisProgram;
use crate::redis::{ADMIN, Redis, RedisOptions, answer};

const SLOTS: usize = 16_384;
const FORMED_WITHIN: Duration = Duration::from_secs(60);
/// After so long without a word a node counts as failed. Short, so that tests of failovers are; long enough for a busy machine to leave others alone.
const NODE_TIMEOUT_MS: u64 = 1_500;
/// How long a key may take on its way to another node.
const MIGRATE_MS: &str = "5000";

/// How a private cluster runs.
#[derive(Debug, Clone)]
pub struct RedisClusterOptions {
    /// Folder for the nodes' folders.
    pub folder: PathBuf,
    /// Password of [`ADMIN`] on every node.
    pub admin_password: String,
    /// Password of [`crate::redis::GATE`] on every node.
    pub gate_password: String,
    /// Nodes that have slots, at least 1; a failover needs 3.
    pub masters: usize,
    /// Replicas of each.
    pub replicas_each: usize,
    /// Whether the nodes speak TLS, to each other always and to clients on a port of its own; the plain port stays open for the administrator.
    pub tls: Option<ClusterTls>,
}

/// What the nodes of a cluster show to each other and to clients.
#[derive(Debug, Clone)]
pub struct ClusterTls {
    /// The certificate of every node, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The authority that vouches for it, in PEM.
    pub authority: PathBuf,
    /// By what name the cluster tells clients of its nodes; none: by their address.
    pub hostname: Option<String>,
}

/// A private Redis Cluster. Dropping it kills it.
#[derive(Debug)]
pub struct RedisCluster {
    /// Masters first, then replicas, the first of each master before the second.
    nodes: Vec<Redis>,
    /// Where the nodes speak TLS, in the same order; empty if they do not.
    tls_ports: Vec<u16>,
    admin_password: String,
}

impl RedisCluster {
    /// Starts an empty cluster whose masters share the slots evenly, in their order, and waits until all of it agrees.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`]; [`StackError::Store`] when the nodes do not come together. Nothing runs then.
    pub async fn start(program: &RedisProgram, options: &RedisClusterOptions) -> Result<Self> {
        let count = options.masters * (1 + options.replicas_each);
        let mut nodes = Vec::with_capacity(count);
        let mut buses = Vec::with_capacity(count);
        let mut tls_ports = Vec::new();
        for number in 0..count {
            let folder = options.folder.join(format!("node-{number}"));
            let bus = Port::early("the cluster bus of Redis")?;
            let tls = match &options.tls {
                Some(tls) => {
                    tls_ports.push(port_beside(bus)?);
                    tls_lines(tls, tls_ports[number])
                }
                None => String::new(),
            };
            let extra = format!(
                "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout {NODE_TIMEOUT_MS}\n\
                 cluster-require-full-coverage no\ncluster-port {bus}\ncluster-announce-ip 127.0.0.1\n\
                 cluster-replica-validity-factor 0\ncluster-allow-replica-migration no\nrepl-diskless-sync-delay 0\n\
                 masteruser {ADMIN}\nmasterauth {}\n{tls}",
                options.admin_password
            );
            let redis = RedisOptions {
                log: folder.join("redis.log"),
                folder,
                admin_password: options.admin_password.clone(),
                gate_password: options.gate_password.clone(),
                port: Port::Free,
                extra,
            };
            nodes.push(Redis::start(program, redis).await?);
            buses.push(bus);
        }
        let cluster = Self { nodes, tls_ports, admin_password: options.admin_password.clone() };
        cluster.form(options, &buses).await?;
        Ok(cluster)
    }

    /// The nodes: masters first, then the first replica of each.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// A node, to be killed, frozen or started again.
    pub fn node(&mut self, number: usize) -> &mut Redis {
        &mut self.nodes[number]
    }

    /// The addresses of all nodes for reservation's gate, as `gate.url` takes them.
    pub fn gate_url(&self) -> String {
        self.nodes.iter().map(Redis::gate_url).collect::<Vec<_>>().join(",")
    }

    /// Where the nodes speak TLS, in their order; empty if they do not.
    pub fn tls_ports(&self) -> &[u16] {
        &self.tls_ports
    }

    /// The port by which the nodes know each other.
    fn port_among_nodes(&self, node: usize) -> u16 {
        self.tls_ports.get(node).copied().unwrap_or_else(|| self.nodes[node].port())
    }

    /// Asks a node for something, as the administrator.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn ask<T: redis::FromRedisValue>(&self, node: usize, words: &[&str]) -> Result<T> {
        answer(&self.nodes[node].admin_url(), words).await
    }

    /// By what the cluster knows a node.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn id(&self, node: usize) -> Result<String> {
        self.ask(node, &["CLUSTER", "MYID"]).await
    }

    /// Begins to move a slot: from now on its keys may be here or there.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`]; the slot may be half open then, which another try heals.
    pub async fn open_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from).await?, self.id(to).await?);
        self.ask::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await?;
        self.ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await
    }

    /// Moves one of the keys of an open slot; false if there was none left.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn move_key(&self, slot: u16, from: usize, to: usize) -> Result<bool> {
        let keys: Vec<String> = self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1"]).await?;
        let Some(key) = keys.first() else { return Ok(false) };
        let port = self.port_among_nodes(to).to_string();
        let target = ["MIGRATE", "127.0.0.1", &port, "", "0", MIGRATE_MS, "REPLACE"];
        let credentials = ["AUTH2", ADMIN, &self.admin_password, "KEYS", key];
        self.ask::<redis::Value>(from, &[&target[..], &credentials[..]].concat()).await?;
        Ok(true)
    }

    /// Gives an open slot without keys to its new node, and waits until every node has heard of it: before that, the next move could begin at one that still
    /// believes the owner before.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`]; some may know already.
    pub async fn close_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (text, to_id) = (slot.to_string(), self.id(to).await?);
        // The new owner first: a slot that its old owner has let go of would be nobody's.
        for node in [to, from] {
            self.ask::<()>(node, &["CLUSTER", "SETSLOT", &text, "NODE", &to_id]).await?;
        }
        self.until("every node knows a slot's new owner, and of what epoch", async || {
            let mut heard = None;
            for node in 0..self.nodes.len() {
                let Ok(view) = self.ask::<String>(node, &["CLUSTER", "NODES"]).await else { return false };
                let Some(epoch) = epoch_of_owner(&view, &to_id, slot) else { return false };
                if *heard.get_or_insert_with(|| epoch.clone()) != epoch {
                    return false;
                }
            }
            true
        })
        .await
    }

    /// Moves a slot with all of its keys.
    ///
    /// # Errors
    ///
    /// As its steps.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        self.open_slot(slot, from, to).await?;
        while self.move_key(slot, from, to).await? {}
        self.close_slot(slot, from, to).await
    }

    /// Has a replica take its master's place in peace, and waits until it has.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn fail_over(&self, replica: usize) -> Result<()> {
        self.ask::<()>(replica, &["CLUSTER", "FAILOVER"]).await?;
        self.becomes_master(replica).await
    }

    /// Waits until a node is a master.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn becomes_master(&self, node: usize) -> Result<()> {
        self.until("a replica takes its master's place", async || {
            self.ask(node, &["INFO", "replication"]).await.is_ok_and(|text: String| text.contains("role:master"))
        })
        .await
    }

    /// Waits until a node that was started again takes part.
    ///
    /// # Errors
    ///
    /// [`StackError::Store`].
    pub async fn serves(&self, node: usize) -> Result<()> {
        self.until("a node takes part again", async || {
            self.ask(node, &["CLUSTER", "INFO"]).await.is_ok_and(|text: String| text.contains("cluster_state:ok"))
        })
        .await
    }

    async fn form(&self, options: &RedisClusterOptions, buses: &[u16]) -> Result<()> {
        for number in 0..options.masters {
            let first = (number * SLOTS / options.masters).to_string();
            let last = ((number + 1) * SLOTS / options.masters - 1).to_string();
            self.ask::<()>(number, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        }
        for number in 0..self.nodes.len() {
            // Of two nodes with the same epoch one would have to give way first.
            self.ask::<()>(number, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await?;
        }
        for (node, bus) in buses.iter().enumerate().skip(1) {
            let (port, bus) = (self.port_among_nodes(node).to_string(), bus.to_string());
            self.ask::<()>(0, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        self.all_say(&["CLUSTER", "INFO"], &[&known, "cluster_state:ok", "cluster_slots_ok:16384"]).await?;
        for replica in options.masters..self.nodes.len() {
            let master = self.id((replica - options.masters) % options.masters).await?;
            self.ask::<()>(replica, &["CLUSTER", "REPLICATE", &master]).await?;
        }
        for replica in options.masters..self.nodes.len() {
            self.until("replicas follow their masters", async || {
                let said = self.ask(replica, &["INFO", "replication"]).await;
                said.is_ok_and(|text: String| text.contains("master_link_status:up"))
            })
            .await?;
        }
        self.until("everybody knows who is a replica", async || {
            for node in 0..self.nodes.len() {
                let Ok(text) = self.ask::<String>(node, &["CLUSTER", "NODES"]).await else { return false };
                if text.matches("slave").count() != self.nodes.len() - options.masters {
                    return false;
                }
            }
            true
        })
        .await
    }

    async fn all_say(&self, words: &[&str], wanted: &[&str]) -> Result<()> {
        self.until("the nodes agree", async || {
            for node in 0..self.nodes.len() {
                let Ok(text) = self.ask::<String>(node, words).await else { return false };
                if !wanted.iter().all(|line| text.contains(line)) {
                    return false;
                }
            }
            true
        })
        .await
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<()> {
        let give_up = Instant::now() + FORMED_WITHIN;
        while !is_so().await {
            if Instant::now() >= give_up {
                return Err(StackError::Store {
                    doing: format!("waiting until {what}"),
                    detail: format!("not within {} s", FORMED_WITHIN.as_secs()),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// A free port that is not this one, on which nobody listens yet.
fn port_beside(other: u16) -> Result<u16> {
    loop {
        let port = Port::early("TLS of Redis")?;
        if port != other {
            return Ok(port);
        }
    }
}

/// The lines of a node's configuration that have it speak TLS.
fn tls_lines(tls: &ClusterTls, port: u16) -> String {
    let ClusterTls { certificate, key, authority, hostname } = tls;
    let files = format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}",
        certificate.display(),
        key.display(),
        authority.display()
    );
    let names = hostname.as_ref().map_or_else(String::new, |hostname| {
        format!("cluster-announce-hostname {hostname}\ncluster-preferred-endpoint-type hostname\n")
    });
    format!("tls-port {port}\n{files}\ntls-auth-clients no\ntls-cluster yes\ntls-replication yes\n{names}")
}

/// The configuration epoch of a node, by what `CLUSTER NODES` says, if it is the slot's owner there.
fn epoch_of_owner(view: &str, id: &str, slot: u16) -> Option<String> {
    let line = view.lines().find(|line| line.starts_with(id))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    // id, address, flags, master, ping, pong, epoch, link, then what it owns; "[…" is a slot on its way.
    let owned = words.iter().skip(8).filter(|range| !range.starts_with('['));
    let has = |range: &&str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
    };
    let mut owned = owned.copied();
    if owned.any(|range| has(&range)) { words.get(6).map(|epoch| (*epoch).to_owned()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slots_owner_is_read_from_what_a_node_says() {
        let view = "aa 127.0.0.1:1@2 myself,master - 0 0 7 connected 0-99 200 [300->-bb]\nbb 127.0.0.1:3@4 master - 0 1 9 connected 100-199\n";
        assert_eq!(epoch_of_owner(view, "aa", 42).as_deref(), Some("7"));
        assert_eq!(epoch_of_owner(view, "aa", 200).as_deref(), Some("7"));
        assert_eq!(epoch_of_owner(view, "bb", 199).as_deref(), Some("9"));
        assert_eq!(epoch_of_owner(view, "bb", 99), None);
        assert_eq!(epoch_of_owner(view, "aa", 300), None);
        assert_eq!(epoch_of_owner(view, "cc", 1), None);
    }
}

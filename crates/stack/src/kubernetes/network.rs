//! Addresses and names: each pod and each Service has an address of its own in 127.0.0.0/8, and all of them one file of hosts.
//!
//! A plain Service hands on whole connections, as kube-proxy does: what is open stays with its pod, whoever is ready or not. A headless one is only a name for
//! its ready pods.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::objects::ServiceSpec;
use crate::error::{Result, StackError};

/// The addresses and names of a cluster.
#[derive(Debug)]
pub(super) struct Network {
    /// A folder, so that the file of hosts can be replaced as a whole while containers see it.
    folder: PathBuf,
    namespace: String,
    next: AtomicU8,
    services: Mutex<BTreeMap<String, Service>>,
    /// Names of what is not in the cluster.
    outside: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Service {
    spec: ServiceSpec,
    /// A headless one has none.
    address: Option<Ipv4Addr>,
    /// By port.
    endpoints: BTreeMap<u16, Arc<Endpoints>>,
    forwarders: Vec<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.forwarders.iter().for_each(JoinHandle::abort);
    }
}

/// Where a port of a Service leads to, now.
#[derive(Debug, Default)]
struct Endpoints {
    ready: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Network {
    pub(super) fn new(folder: PathBuf, namespace: &str) -> Result<Self> {
        std::fs::create_dir_all(&folder).map_err(|error| StackError::unwritable(&folder, error))?;
        let (next, services, outside) = (AtomicU8::new(1), Mutex::default(), Mutex::default());
        let network = Self { folder, namespace: namespace.to_owned(), next, services, outside };
        network.write_hosts()?;
        Ok(network)
    }

    /// Lets a name mean this machine.
    pub(super) fn outside(&self, name: &str) -> Result<()> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        self.write_hosts()
    }

    /// The folder with the file `hosts`.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An address that nobody has: this process's own range, counted up.
    pub(super) fn address(&self) -> Result<Ipv4Addr> {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let range = StackError::Usage("this cluster has used up its 254 addresses".into());
        if number == u8::MAX { Err(range) } else { Ok(Ipv4Addr::new(127, 64 + high % 128, low, number)) }
    }

    /// Makes a Service, or makes it anew if it has changed. Its address stays.
    pub(super) async fn serve(&self, name: &str, spec: &ServiceSpec) -> Result<()> {
        let (before, endpoints) = {
            let mut services = self.services();
            let ports = |spec: &ServiceSpec| spec.ports.iter().map(|port| port.port).collect::<Vec<_>>();
            // What listens goes on listening: an address that was let go is not free at once.
            if let Some(there) = services.get_mut(name)
                && there.spec.headless() == spec.headless()
                && ports(&there.spec) == ports(spec)
            {
                there.spec = spec.clone();
                return Ok(());
            }
            let before = services.get(name);
            (before.and_then(|one| one.address), before.map(|one| one.endpoints.clone()).unwrap_or_default())
        };
        let mut service = Service { spec: spec.clone(), address: None, endpoints, forwarders: Vec::new() };
        service.endpoints.retain(|port, _| spec.ports.iter().any(|one| one.port == *port));
        self.services().remove(name);
        if !spec.headless() {
            let address = before.map_or_else(|| self.address(), Ok)?;
            for port in &spec.ports {
                let listening = |error| StackError::io(format!("listening for the Service {name}"), error);
                let listener = TcpListener::bind((address, port.port)).await.map_err(listening)?;
                let endpoints = Arc::clone(service.endpoints.entry(port.port).or_default());
                service.forwarders.push(tokio::spawn(forward(listener, endpoints)));
            }
            service.address = Some(address);
        }
        for port in &spec.ports {
            service.endpoints.entry(port.port).or_default();
        }
        self.services().insert(name.to_owned(), service);
        self.write_hosts()
    }

    /// The Services that there are.
    pub(super) fn all(&self) -> Vec<(String, ServiceSpec)> {
        self.services().iter().map(|(name, one)| (name.clone(), one.spec.clone())).collect()
    }

    /// Forgets a Service.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        self.services().remove(name);
        self.write_hosts()
    }

    /// Says where a port of a Service leads to from now on.
    pub(super) fn lead(&self, name: &str, port: u16, ready: Vec<SocketAddr>) -> Result<()> {
        {
            let services = self.services();
            let Some(endpoints) = services.get(name).and_then(|one| one.endpoints.get(&port)) else { return Ok(()) };
            let mut before = endpoints.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if *before == ready {
                return Ok(());
            }
            *before = ready;
        }
        self.write_hosts()
    }

    /// Where a port of a Service leads to: its ready pods.
    pub(super) fn endpoints(&self, name: &str, port: &str) -> Vec<SocketAddr> {
        let services = self.services();
        let Some(service) = services.get(name) else { return Vec::new() };
        let number = service.spec.ports.iter().find(|one| one.name == port).map(|one| one.port);
        let endpoints = number.and_then(|number| service.endpoints.get(&number));
        endpoints.map(|one| one.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// The address of a plain Service.
    pub(super) fn service(&self, name: &str, port: &str) -> Option<SocketAddr> {
        let services = self.services();
        let service = services.get(name)?;
        let number = service.spec.ports.iter().find(|one| one.name == port)?.port;
        Some((service.address?, number).into())
    }

    fn services(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What DNS would say, as a file.
    fn write_hosts(&self) -> Result<()> {
        let mut text = String::from("127.0.0.1 localhost\n");
        for name in &*self.outside.lock().unwrap_or_else(PoisonError::into_inner) {
            let _infallible = writeln!(text, "127.0.0.1 {name}");
        }
        // The lock is held until the file is there, so that an older one never replaces a newer one.
        let services = self.services();
        for (name, service) in &*services {
            let mut addresses: Vec<_> = service.address.into_iter().map(Into::into).collect();
            if service.address.is_none() {
                let ready = service.endpoints.values().flat_map(|one| {
                    one.ready
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .iter()
                        .map(SocketAddr::ip)
                        .collect::<Vec<_>>()
                });
                addresses.extend(ready);
                addresses.sort_unstable();
                addresses.dedup();
            }
            let namespace = &self.namespace;
            for address in addresses {
                let names =
                    format!("{name} {name}.{namespace} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local");
                let _infallible = writeln!(text, "{address} {names}");
            }
        }
        let (file, draft) = (self.folder.join("hosts"), self.folder.join("hosts.new"));
        let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &file));
        written.map_err(|error| StackError::unwritable(&file, error))
    }
}

/// Hands each connection on to the next ready pod. A connection that finds none is closed, which to its caller is nobody listening.
async fn forward(listener: TcpListener, endpoints: Arc<Endpoints>) {
    // Connections end with the forwarder, that is, with the Service's address.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        let ready = endpoints.ready.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let turn = endpoints.turn.fetch_add(1, Ordering::Relaxed);
        let Some(to) = ready.get(turn % ready.len().max(1)).copied() else { continue };
        open.spawn(async move {
            let Ok(mut to) = TcpStream::connect(to).await else { return };
            let _as_the_network_does = (from.set_nodelay(true), to.set_nodelay(true));
            let _either_side_has_gone = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

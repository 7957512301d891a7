//! Asking a container how it is, as often and as patiently as its object says.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::objects::PortRef;
use super::podspec::{Container, Probe};
use crate::http;

/// What a probe led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has come up; from now on it is asked whether it serves.
    Started,
    /// Whether it serves has changed.
    Ready(bool),
    /// It has to be started anew, and why.
    Restart(String),
}

/// The probes of a running container.
#[derive(Debug)]
pub(super) struct Prober {
    startup: Option<Asking>,
    readiness: Option<Asking>,
    liveness: Option<Asking>,
    ready: bool,
}

/// A probe, and what it was answered lately.
#[derive(Debug, Clone)]
struct Asking {
    probe: Probe,
    address: SocketAddr,
    next: Instant,
    good: u64,
    bad: u64,
    said: String,
}

impl Prober {
    /// The probes of a container that begins now.
    pub(super) fn new(container: &Container, address: Ipv4Addr) -> Result<Self, String> {
        let asking = |probe: &Option<Probe>| {
            probe
                .as_ref()
                .map(|probe| Asking::new(probe, (address, port(container, &probe.http_get.port)?)))
                .transpose()
        };
        Ok(Self {
            startup: asking(&container.startup_probe)?,
            readiness: asking(&container.readiness_probe)?,
            liveness: asking(&container.liveness_probe)?,
            ready: false,
        })
    }

    /// Whether nothing has to be asked before it counts as ready.
    pub(super) fn ready_at_once(&self) -> bool {
        self.startup.is_none() && self.readiness.is_none()
    }

    /// Waits for the next thing that probes lead to. It may be dropped and called again.
    pub(super) async fn next(&mut self) -> Verdict {
        loop {
            if let Some(startup) = &mut self.startup {
                match startup.ask().await {
                    Some(true) => {
                        self.startup = None;
                        let now = Instant::now();
                        for one in self.readiness.iter_mut().chain(&mut self.liveness) {
                            one.next = now + Duration::from_secs(one.probe.initial_delay_seconds);
                        }
                        if self.readiness.is_none() {
                            self.ready = true;
                            return Verdict::Ready(true);
                        }
                        return Verdict::Started;
                    }
                    Some(false) => return Verdict::Restart(format!("its startup probe failed: {}", startup.said)),
                    None => continue,
                }
            }
            let live_first = match (&self.readiness, &self.liveness) {
                (None, None) => std::future::pending().await,
                (Some(ready), Some(live)) => live.next < ready.next,
                (None, Some(_)) => true,
                (Some(_), None) => false,
            };
            if live_first && let Some(live) = &mut self.liveness {
                if live.ask().await == Some(false) {
                    return Verdict::Restart(format!("its liveness probe failed: {}", live.said));
                }
            } else if let Some(ready) = &mut self.readiness
                && let Some(now) = ready.ask().await
                && now != self.ready
            {
                self.ready = now;
                return Verdict::Ready(now);
            }
        }
    }
}

impl Asking {
    fn new(probe: &Probe, address: (Ipv4Addr, u16)) -> Result<Self, String> {
        if probe.period_seconds == 0 || probe.failure_threshold == 0 || probe.success_threshold == 0 {
            return Err("a probe's period and thresholds are at least 1".to_owned());
        }
        let next = Instant::now() + Duration::from_secs(probe.initial_delay_seconds);
        Ok(Self { probe: probe.clone(), address: address.into(), next, good: 0, bad: 0, said: String::new() })
    }

    /// Asks when it is time; says what that makes of the container, if enough answers in a row agree.
    async fn ask(&mut self) -> Option<bool> {
        sleep_until(self.next).await;
        let asked = http::get(self.address, &self.probe.http_get.path);
        let answer = timeout(Duration::from_secs(self.probe.timeout_seconds), asked).await;
        self.next = Instant::now() + Duration::from_secs(self.probe.period_seconds);
        let good = match answer {
            Ok(Ok((status @ 200..400, _))) => {
                self.said = format!("{status}");
                true
            }
            Ok(Ok((status, body))) => {
                self.said = format!("{status} {}", body.trim());
                false
            }
            Ok(Err(error)) => {
                self.said = error.to_string();
                false
            }
            Err(_elapsed) => {
                self.said = format!("no answer within {} s", self.probe.timeout_seconds);
                false
            }
        };
        (self.good, self.bad) = if good { (self.good + 1, 0) } else { (0, self.bad + 1) };
        match good {
            true if self.good >= self.probe.success_threshold => Some(true),
            false if self.bad >= self.probe.failure_threshold => Some(false),
            _ => None,
        }
    }
}

/// A container's port by name or number.
pub(super) fn port(container: &Container, wanted: &PortRef) -> Result<u16, String> {
    match wanted {
        PortRef::Number(number) => Ok(*number),
        PortRef::Name(name) => {
            let found = container.ports.iter().find(|port| port.name == *name);
            found.map(|port| port.container_port).ok_or_else(|| format!("{} has no port called {name}", container.name))
        }
    }
}

//! Every role, started from the image as a cluster would start it: configuration and secrets as files, nothing to write, no privileges.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Result, StackError};
use crate::http;
use crate::ports::Port;
use crate::project::Project;
use crate::say::say;
use crate::secrets::random_secret;
use crate::services::Service;

use super::super::own_stores::OwnStores;
use super::podman::{Container, Podman};
use super::{Image, run_folder};

/// What a start should stay below once the stores answer.
const START_MAX: Duration = Duration::from_millis(300);
/// Longer than a service's own drain (`server.drain_seconds_max`, 20) and what follows it.
const END_WITHIN: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Where a cluster puts the configuration, and the secrets.
const CONFIGURATION: &str = "/etc/holdfast";
const SECRETS: &str = "/run/secrets/holdfast";
/// Who looks whether everything answers right, and what it may do: a checkout's calls, and making its own SKU.
const CANARY: &str = "canary";
const CANARY_ROLES: [&str; 2] = ["checkout", "merchandiser"];

/// The stores, and what is told to the roles about them.
struct World {
    stores: OwnStores,
    folder: Folder,
    places: Vec<(Service, Places)>,
}

/// Where a service listens.
#[derive(Clone, Copy)]
struct Places {
    grpc: u16,
    admin: u16,
}

/// A folder that is removed with all it holds; only its owner may look into it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_for_the_next_run = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts every role, has the canary look, ends every role in order, and says how long it took.
pub(super) async fn start_all(project: &Project, podman: &Podman, image: &Image, starts: u32) -> Result<()> {
    say("\nStarting every role: read-only, user 65532, no capabilities, no new privileges …");
    let mut world = World::open(project).await?;
    let told = run_all(podman, image, &world, starts).await;
    world.stores.stop().await?;
    told
}

async fn run_all(podman: &Podman, image: &Image, world: &World, starts: u32) -> Result<()> {
    for service in Service::ALL {
        let said = podman.run(&image.name, &world.container(service, "migrate")).await?;
        say(format!("  {}", said.lines().last().unwrap_or_default()));
        podman.create(service.name(), &image.name, &world.container(service, "serve")).await?;
    }
    let (mut slow, mut slowest) = (Vec::new(), Duration::ZERO);
    for service in Service::ALL {
        let mut times = Vec::new();
        for start in 1..=starts {
            let (pid, took) = ready(podman, world, service).await?;
            check_locked_up(service, pid)?;
            times.push(took);
            if start < starts {
                end(podman, service).await?;
            } else {
                let memory = status(pid, "VmRSS")?;
                say(format!("  {:<12} ready after {}, {memory}", service.name(), list(&times)));
            }
        }
        times.sort();
        // One start may meet a busy machine; half of them are no accident.
        if times.get(times.len() / 2).is_some_and(|median| *median >= START_MAX) {
            slow.push(service.name());
        }
        slowest = slowest.max(times.last().copied().unwrap_or_default());
    }
    for _twice in 0..2 {
        let said = podman.run(&image.name, &world.canary()).await?;
        said.lines().for_each(|line| say(format!("  {}", line.trim_end())));
    }
    for service in Service::ALL.into_iter().rev() {
        let took = end(podman, service).await?;
        say(format!("  {:<12} SIGTERM, exit 0 after {} ms", service.name(), took.as_millis()));
    }
    let bound = START_MAX.as_millis();
    if slow.is_empty() {
        let slowest = slowest.as_millis();
        say(format!(
            "  every role was ready in under {bound} ms once the stores answered, by the median of {starts} starts; the slowest took {slowest} ms"
        ));
        return Ok(());
    }
    Err(StackError::Found(format!("not ready in under {bound} ms: {}", slow.join(", "))))
}

/// Starts a role's container; its process, and how long it took from the program's first instruction until it was ready.
async fn ready(podman: &Podman, world: &World, service: Service) -> Result<(u32, Duration)> {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, world.places(service).admin));
    let (pid, began) = podman.start(service.name()).await?;
    loop {
        if let Ok((200, _body)) = http::get(admin, "/readyz").await {
            return Ok((pid, began.elapsed()));
        }
        if began.elapsed() > READY_WITHIN || !Path::new(&format!("/proc/{pid}")).exists() {
            let log = podman.log(service.name()).await;
            return Err(StackError::Found(format!("{} does not get ready:\n{log}", service.name())));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn end(podman: &Podman, service: Service) -> Result<Duration> {
    let (code, took) = podman.stop(service.name(), END_WITHIN).await?;
    if code == 0 {
        return Ok(took);
    }
    let log = podman.log(service.name()).await;
    Err(StackError::Found(format!("{} ended with {code} after SIGTERM:\n{log}", service.name())))
}

/// Asks the kernel whether the process is as locked up as was asked for.
fn check_locked_up(service: Service, pid: u32) -> Result<()> {
    let nothing = "0000000000000000";
    for (field, wanted) in
        [("Uid", "65532"), ("Gid", "65532"), ("CapEff", nothing), ("CapPrm", nothing), ("NoNewPrivs", "1")]
    {
        let is = status(pid, field)?;
        if is.split_whitespace().next() != Some(wanted) {
            return Err(StackError::Found(format!("{} has {field} {is}, not {wanted}", service.name())));
        }
    }
    let mounts = read(pid, "mountinfo")?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let options = root.and_then(|line| line.split(' ').nth(5)).unwrap_or_default();
    if options.split(',').any(|option| option == "ro") {
        return Ok(());
    }
    Err(StackError::Found(format!("{} could write to its root: {options}", service.name())))
}

fn status(pid: u32, field: &str) -> Result<String> {
    let text = read(pid, "status")?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.unwrap_or_default().trim().to_owned())
}

fn read(pid: u32, file: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(|error| StackError::io("looking at a container's process", error))
}

fn list(times: &[Duration]) -> String {
    let each: Vec<String> = times.iter().map(|time| format!("{} ms", time.as_millis())).collect();
    each.join(", ")
}

impl World {
    async fn open(project: &Project) -> Result<Self> {
        let folder = Folder(run_folder(project));
        // Whoever may look into the folder may read the secrets in it.
        make(&folder.0, 0o700)?;
        for open in ["config", "secrets"] {
            make(&folder.0.join(open), 0o755)?;
        }
        let stores = OwnStores::start(project, &folder.0, &Service::ALL).await?;
        let mut places = Vec::new();
        for service in Service::ALL {
            places.push((service, Places { grpc: early(service)?, admin: early(service)? }));
        }
        let world = Self { stores, folder, places };
        world.write()?;
        Ok(world)
    }

    /// Writes every configuration and every secret, as a cluster would mount them.
    fn write(&self) -> Result<()> {
        let tokens: Vec<(&str, String)> =
            Service::ALL.map(Service::name).into_iter().chain([CANARY]).map(|name| (name, random_secret())).collect();
        for (name, token) in &tokens {
            self.secret(&format!("tokens/{name}"), token)?;
        }
        self.secret("redis/url", &self.stores.redis.gate_url())?;
        for service in Service::ALL {
            let (name, database) = (service.name(), service.database());
            let url = |role: &str| self.stores.url(role, service);
            self.secret(&format!("{name}/url"), &url(database.running()))?;
            self.secret(&format!("{name}/migrate-url"), &url(&database.owner()))?;
            put(&self.folder.0.join("config").join(name).join("config.toml"), &self.configuration(service))?;
        }
        Ok(())
    }

    fn secret(&self, name: &str, value: &str) -> Result<()> {
        put(&self.folder.0.join("secrets").join(name), value)
    }

    fn configuration(&self, service: Service) -> String {
        let (name, Places { grpc, admin }) = (service.name(), self.places(service));
        let local = Ipv4Addr::LOCALHOST;
        let mut text = format!(
            "[server]\ngrpc_listen = \"{local}:{grpc}\"\nadmin_listen = \"{local}:{admin}\"\n\n\
             [postgres]\nurl_file = \"{SECRETS}/{name}/url\"\nmigrate_url_file = \"{SECRETS}/{name}/migrate-url\"\n"
        );
        let mut known: Vec<(&str, Vec<&str>)> = vec![(CANARY, CANARY_ROLES.into())];
        known
            .extend(Service::ALL.map(Service::name).into_iter().filter(|one| *one != name).map(|one| (one, vec![one])));
        for (caller, roles) in known {
            let token = format!("token_file = \"{SECRETS}/tokens/{caller}\"");
            let _infallible = write!(text, "\n[[callers.list]]\nname = \"{caller}\"\nroles = {roles:?}\n{token}\n");
        }
        let peers = match service {
            Service::Reservation => {
                let _infallible = write!(text, "\n[gate]\nurl_file = \"{SECRETS}/redis/url\"\n");
                [].as_slice()
            }
            Service::Catalog => &[Service::Reservation, Service::VendorSync],
            Service::VendorSync => &[Service::Reservation, Service::Catalog],
        };
        for peer in peers {
            let section = peer.name().replace('-', "_");
            let token = format!("token_file = \"{SECRETS}/tokens/{name}\"");
            let _infallible = write!(text, "\n[{section}]\nendpoint = \"{}\"\n{token}\n", self.url(*peer));
        }
        text
    }

    fn places(&self, service: Service) -> Places {
        let place = self.places.iter().find(|(of, _)| *of == service);
        place.map_or(Places { grpc: 0, admin: 0 }, |(_, places)| *places)
    }

    fn url(&self, service: Service) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.places(service).grpc)
    }

    fn container(&self, service: Service, command: &str) -> Container {
        Container {
            mounts: vec![
                (self.folder.0.join("config").join(service.name()), CONFIGURATION.to_owned()),
                (self.folder.0.join("secrets"), SECRETS.to_owned()),
            ],
            env: vec![(format!("{}_CONFIG", service.env_prefix()), format!("{CONFIGURATION}/config.toml"))],
            args: vec![service.name().to_owned(), command.to_owned()],
        }
    }

    fn canary(&self) -> Container {
        let endpoint = |service: Service| (format!("{}_ENDPOINT", service.env_prefix()), self.url(service));
        let mut env: Vec<_> = Service::ALL.map(endpoint).into();
        env.push(("HOLDFAST_TOKEN_FILE".to_owned(), format!("{SECRETS}/tokens/{CANARY}")));
        Container {
            mounts: vec![(self.folder.0.join("secrets"), SECRETS.to_owned())],
            env,
            args: ["ctl", "canary"].map(str::to_owned).into(),
        }
    }
}

/// A port that is told to others before anybody listens there.
fn early(service: Service) -> Result<u16> {
    match Port::Free.decide(service.name())? {
        Port::Fixed(port) => Ok(port),
        Port::Free => Err(StackError::Found("no port was decided on".to_owned())),
    }
}

/// Makes a folder with these permissions, whatever this machine's umask is.
fn make(folder: &Path, mode: u32) -> Result<()> {
    let unwritable = |error| StackError::unwritable(folder, error);
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).map_err(unwritable)
}

/// Writes a file that the containers' user may read; the folder around all of them is its owner's alone.
fn put(path: &Path, text: &str) -> Result<()> {
    let unwritable = |error| StackError::unwritable(path, error);
    make(path.parent().unwrap_or(path), 0o755)?;
    std::fs::write(path, text).map_err(unwritable)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(unwritable)
}

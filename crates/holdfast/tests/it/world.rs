//! The program as a process, and roles of it with databases of their own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use holdfast_stack::configuration::{Inputs, configuration};
use holdfast_stack::http;
use holdfast_stack::ports::Port;
use holdfast_stack::roles::make_database;
use holdfast_stack::secrets::random_secret;
use holdfast_stack::services::Service;
use holdfast_testkit::{PrivateRedis, eventually, stores};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with nothing of this machine's environment that it might listen to.
pub(crate) fn holdfast(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// What a command wrote to standard output and error, and its exit code.
pub(crate) async fn ends(mut command: Command) -> (String, String, i32) {
    told(&tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap())
}

fn told(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("no signal ended it"))
}

/// A role with a database of its own, in which there is nothing yet.
pub(crate) struct Role {
    pub(crate) service: Service,
    folder: TempDir,
    port: Port,
}

/// A role that serves.
pub(crate) struct Serving {
    pub(crate) admin: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Role {
    /// `others` says where Redis and the other roles are.
    pub(crate) async fn new(service: Service, port: Port, others: Inputs) -> Self {
        let (folder, info) = (tempfile::tempdir().unwrap(), stores());
        let (database, name) = (service.database(), format!("test_{}", &random_secret()[..16]));
        make_database(&info.admin_url, database, &name, "template0").await.unwrap();
        let inputs = Inputs {
            postgres_url: info.url(database.running(), &name),
            migrate_url: info.url(&database.owner(), &name),
            drop_root: folder.path().display().to_string(),
            ..others
        };
        let role = Self { service, folder, port };
        std::fs::write(role.file("config.toml"), configuration(service, &inputs)).unwrap();
        role
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Told where its configuration is as a cluster tells it: by the environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = holdfast(&[&[self.service.name()], words].concat());
        let prefix = self.service.env_prefix();
        let port = if let Port::Fixed(port) = self.port { port } else { 0 };
        command.env(format!("{prefix}_CONFIG"), self.file("config.toml"));
        command.env(format!("{prefix}__SERVER__GRPC_LISTEN"), format!("127.0.0.1:{port}"));
        command.env(format!("{prefix}__SERVER__ADMIN_LISTEN"), "127.0.0.1:0");
        command
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn serve(&self) -> Serving {
        let (announced, log) = (self.file("addresses.json"), self.file("log"));
        let out = File::create(&log).unwrap();
        let mut command = self.command(&["serve", "--announce", &announced.display().to_string()]);
        let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let ready = || async {
            let text = std::fs::read_to_string(&announced).ok()?;
            let addresses: serde_json::Value = serde_json::from_str(&text).ok()?;
            let admin = addresses["admin"].as_str()?.parse().ok()?;
            http::get(admin, "/readyz").await.ok().filter(|(status, _)| *status == 200).map(|_ready| admin)
        };
        let admin = eventually("the role is ready", PATIENCE, ready).await;
        Serving { admin, child, log }
    }
}

impl Serving {
    /// SIGTERM: what it logged, and its exit code.
    pub(crate) async fn ends_in_order(mut self) -> (String, i32) {
        let pid = Pid::from_raw(self.child.id().expect("it runs").cast_signed()).expect("a process");
        kill_process(pid, Signal::TERM).expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        (std::fs::read_to_string(&self.log).unwrap_or_default(), ended.code().expect("no signal ended it"))
    }
}

/// All three roles, migrated and serving, who know each other.
pub(crate) struct Shop {
    running: Vec<Serving>,
    endpoints: Vec<(String, String)>,
    _roles: Vec<Role>,
    _redis: PrivateRedis,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let redis = holdfast_testkit::redis().await;
        let ports = Service::ALL.map(|service| (service, Port::Free.decide(service.name()).unwrap()));
        let token = |service: Service| format!("the token of {}", service.name());
        let url =
            |wanted| ports.iter().find(|(service, _)| *service == wanted).and_then(|(_, port)| port.url()).unwrap();
        let gate_url = redis.gate_url();
        let mut shop = Self { running: Vec::new(), endpoints: Vec::new(), _roles: Vec::new(), _redis: redis };
        for (service, port) in ports {
            let others = Inputs {
                gate_url: gate_url.clone(),
                reservation_url: url(Service::Reservation),
                catalog_url: url(Service::Catalog),
                vendor_sync_url: url(Service::VendorSync),
                own_token: token(service),
                callers: Service::ALL.map(|caller| (caller.name().to_owned(), token(caller))).into(),
                ..Inputs::default()
            };
            let role = Role::new(service, port, others).await;
            let (out, error, code) = ends(role.command(&["migrate"])).await;
            assert_eq!(code, 0, "{out}{error}");
            shop.running.push(role.serve().await);
            shop._roles.push(role);
            shop.endpoints.push((format!("{}_ENDPOINT", service.env_prefix()), url(service)));
        }
        shop
    }

    /// holdctl, which knows where everything is.
    pub(crate) fn ctl(&self, words: &[&str]) -> Command {
        let mut command = holdfast(&[&["ctl"], words].concat());
        command.envs(self.endpoints.iter().map(|(name, url)| (name, url)));
        command
    }

    /// What holdctl answers in JSON; it must end well.
    pub(crate) async fn json(&self, words: &[&str]) -> serde_json::Value {
        let (out, error, code) = ends(self.ctl(&[&["--output", "json"], words].concat())).await;
        assert_eq!(code, 0, "{words:?}: {error}");
        serde_json::from_str(&out).unwrap_or_else(|wrong| panic!("{words:?}: {wrong}\n{out}"))
    }

    pub(crate) async fn close(self) {
        for running in self.running.into_iter().rev() {
            let (log, code) = running.ends_in_order().await;
            assert_eq!(code, 0, "{log}");
        }
    }
}

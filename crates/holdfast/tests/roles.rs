//! One program, every role: what it says, how it ends, and that each role serves.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use holdfast_stack::configuration::{Inputs, configuration};
use holdfast_stack::http;
use holdfast_stack::roles::make_database;
use holdfast_stack::secrets::random_secret;
use holdfast_stack::services::Service;
use holdfast_testkit::{PrivateRedis, eventually, stores};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The program, with nothing of this machine's environment that it might listen to.
fn holdfast(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// What it wrote to standard output and error, and its exit code.
async fn ends(mut command: Command) -> (String, String, i32) {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    told(&output.expect("it ends").expect("it runs"))
}

fn told(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("no signal ended it"))
}

#[tokio::test]
async fn who_names_no_role_or_a_wrong_one_is_shown_all_of_them() {
    for words in [&[][..], &["reserve"], &["--serve"], &["", "serve"], &["Reservation"]] {
        let (out, error, code) = ends(holdfast(words)).await;
        assert_eq!((out.as_str(), code), ("", 2), "{words:?}: {error}");
        for role in ["reservation", "catalog", "vendor-sync", "ctl"] {
            assert!(error.contains(&format!("\n  {role} ")), "{words:?}: {error}");
        }
    }
    let (_, error, _) = ends(holdfast(&["reserve"])).await;
    assert!(error.starts_with("holdfast: there is no role reserve\n"), "{error}");
    let (out, error, code) = ends(holdfast(&["--help"])).await;
    assert!(out.starts_with("Usage: holdfast ROLE") && error.is_empty() && code == 0, "{out}{error}");
}

#[tokio::test]
async fn every_role_says_which_build_it_is() {
    for role in [&[][..], &["reservation"], &["catalog"], &["vendor-sync"]] {
        let (out, _, code) = ends(holdfast(&[role, &["--version"]].concat())).await;
        let name = [&["holdfast"], role].concat().join(" ");
        let version = env!("CARGO_PKG_VERSION");
        assert!(out.starts_with(&format!("{name} {version} (revision ")) && code == 0, "{out}");
    }
}

#[tokio::test]
async fn a_role_names_itself_as_it_was_called() {
    for role in ["reservation", "catalog", "vendor-sync", "ctl"] {
        let (out, _, code) = ends(holdfast(&[role, "--help"])).await;
        assert!(out.contains(&format!("Usage: holdfast {role} ")) && code == 0, "{out}");
        let (_, error, code) = ends(holdfast(&[role, "--nonsense"])).await;
        assert!(error.contains("--nonsense") && error.contains(&format!("Usage: holdfast {role} ")), "{error}");
        assert_eq!(code, 2, "{role}");
    }
    // Refused for its configuration, and for the want of a database.
    let (_, error, code) = ends(holdfast(&["catalog", "serve"])).await;
    assert!(error.starts_with("holdfast catalog: ") && code == 2, "{code} {error}");
    let mut away = holdfast(&["reservation", "migrate"]);
    away.env("HOLDFAST_RESERVATION__POSTGRES__URL", "postgres://nobody:x@127.0.0.1:1/none");
    away.env("HOLDFAST_RESERVATION__POSTGRES__CONNECT_SECONDS_MAX", "0");
    let (_, error, code) = ends(away).await;
    assert!(error.contains("holdfast reservation: ") && code == 3, "{code} {error}");
    // holdctl, with a service that is away: nothing happened, code 1.
    let key = "01890000-0000-7000-8000-000000000000";
    let mut release = holdfast(&["ctl", "--timeout", "1s", "release", key]);
    release.env("HOLDFAST_RESERVATION_ENDPOINT", "http://127.0.0.1:1");
    let (_, error, code) = ends(release).await;
    assert!(error.starts_with("holdfast ctl: ") && code == 1, "{code} {error}");
}

#[tokio::test]
async fn every_role_migrates_serves_and_ends_in_order() {
    let redis = holdfast_testkit::redis().await;
    for service in Service::ALL {
        let role = Role::new(service, &redis).await;
        // Without its schema it refuses to start, and says what to type.
        let (_, error, code) = ends(role.command(&["serve"])).await;
        let advice = format!("run `holdfast {} migrate` first", service.name());
        assert!(error.contains(&advice) && code == 3, "{code} {error}");
        for applied in ["applied ", "applied 0 migrations"] {
            let (out, error, code) = ends(role.command(&["migrate"])).await;
            let begins = format!("holdfast {}: {applied}", service.name());
            assert!(out.starts_with(&begins) && code == 0, "{code} {out}{error}");
        }

        let (child, announced) = role.serve().await;
        let admin = announced["admin"].as_str().expect("an address").parse().expect("an address");
        let ready = || async { http::get(admin, "/readyz").await.ok().filter(|(status, _)| *status == 200) };
        let (_, said) = eventually("it is ready", Duration::from_secs(30), ready).await;
        assert_eq!(said, "ready\n", "{}", service.name());
        let pid = Pid::from_raw(child.id().expect("it runs").cast_signed()).expect("a process");
        kill_process(pid, Signal::TERM).expect("it runs");
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
        let (out, error, code) = told(&ended.expect("it ends").expect("it ran"));
        assert_eq!(code, 0, "{}: {out}{error}", service.name());
    }
}

/// A role with a database of its own, in which there is nothing yet.
struct Role {
    service: Service,
    folder: TempDir,
}

impl Role {
    async fn new(service: Service, redis: &PrivateRedis) -> Self {
        let (folder, info) = (tempfile::tempdir().expect("a folder"), stores());
        let (database, name) = (service.database(), format!("test_{}", &random_secret()[..16]));
        make_database(&info.admin_url, database, &name, "template0").await.expect("a database");
        let inputs = Inputs {
            postgres_url: info.url(database.running(), &name),
            migrate_url: info.url(&database.owner(), &name),
            gate_url: redis.gate_url(),
            ..Inputs::default()
        };
        // Where the others are is nothing that a start depends on.
        let text = configuration(service, &inputs).replace("endpoint = \"\"", "endpoint = \"http://127.0.0.1:1\"");
        let role = Self { service, folder };
        std::fs::write(role.file("config.toml"), text).expect("it can be written");
        role
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Told where its configuration is as a cluster tells it: by the environment.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = holdfast(&[&[self.service.name()], words].concat());
        let prefix = self.service.env_prefix();
        command.env(format!("{prefix}_CONFIG"), self.file("config.toml"));
        for listen in ["GRPC_LISTEN", "ADMIN_LISTEN"] {
            command.env(format!("{prefix}__SERVER__{listen}"), "127.0.0.1:0");
        }
        command
    }

    async fn serve(&self) -> (Child, serde_json::Value) {
        let file = self.file("addresses.json");
        let child = self.command(&["serve", "--announce", &file.display().to_string()]).spawn().expect("it starts");
        let announced = eventually("its addresses", Duration::from_secs(30), || read(&file)).await;
        (child, announced)
    }
}

async fn read(file: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}

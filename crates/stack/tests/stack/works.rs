//! What `./dev up` starts can be used.

use std::net::SocketAddr;

use holdfast_stack::endpoints::Endpoints;
use holdfast_stack::http;
use holdfast_stack::ports::Port;
use holdfast_stack::postgres::{Postgres, PostgresOptions, connect};
use holdfast_stack::programs::{PostgresPrograms, RedisProgram};
use holdfast_stack::project::Project;
use holdfast_stack::redis::{Redis, RedisOptions};
use rustix::process::Signal;

use crate::runner::{Place, users};

#[tokio::test]
async fn all_that_it_says_it_runs_answers() {
    let place = Place::new(users()[0]);
    let running = place.up(&[]);
    let text = std::fs::read_to_string(place.state().join("endpoints.json")).unwrap();
    let endpoints: Endpoints = serde_json::from_str(&text).unwrap();
    assert_eq!(endpoints.pid, running.pid());
    for (service, url) in &endpoints.admin {
        let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        assert!(address.ip().is_loopback(), "{service} listens on {address}");
        assert_eq!(http::get(address, "/readyz").await.unwrap().0, 200, "{service}");
    }
    for (service, url) in &endpoints.postgres {
        let mut connection = connect(url).await.unwrap();
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(tables > 0, "{service}'s database is migrated");
        let setting: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut connection).await.unwrap();
        assert_eq!(setting, "on", "durability is the product");
    }
    let mut redis = redis::Client::open(endpoints.redis).unwrap().get_multiplexed_async_connection().await.unwrap();
    let policy: Vec<String> =
        redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async(&mut redis).await.unwrap();
    assert_eq!(policy[1], "noeviction");
    running.signal(Signal::TERM);
    running.ended();
}

#[test]
fn a_small_demo_keeps_every_promise_that_it_makes() {
    let place = Place::new(users()[0]);
    let (status, said) = place.run(&["demo", "--skus", "500", "--buyers", "400", "--carts", "300", "--units", "60"]);
    assert!(status.success(), "{said}");
    assert!(said.contains("Every invariant held."), "{said}");
    for part in ["999", "cut off", "damaged", "approved", "rejected", "oversold", "falsely refused"] {
        assert!(said.contains(part), "it says nothing of {part:?}: {said}");
    }
}

#[tokio::test]
async fn stores_that_already_run_are_used_and_left_running() {
    let (place, project) = (Place::new(users()[0]), Project::locate());
    let folder = tempfile::tempdir().unwrap();
    let programs = PostgresPrograms::find(&project).await.unwrap().expect("./dev test gets PostgreSQL");
    let options = PostgresOptions {
        data: folder.path().join("data"),
        log: folder.path().join("postgres.log"),
        password: "theirs".into(),
        port: Port::Free,
        durable: true,
    };
    let postgres = Postgres::start(&programs, options).await.unwrap();
    let program = RedisProgram::find(&project).await.unwrap().expect("./dev test gets Redis");
    let options = RedisOptions {
        folder: folder.path().into(),
        log: folder.path().join("redis.log"),
        admin_password: "theirs".into(),
        gate_password: "theirs".into(),
        port: Port::Free,
        extra: String::new(),
    };
    let redis = Redis::start(&program, options).await.unwrap();
    let given = [("HOLDFAST_POSTGRES_ADMIN_URL", postgres.admin_url()), ("HOLDFAST_REDIS_URL", redis.gate_url())];
    let running = place.up_with(&[], &given);
    let services_alone = 4;
    assert_eq!(running.processes().len(), services_alone, "it started stores of its own");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    connect(&postgres.admin_url()).await.unwrap();
    assert!(!place.state().join("postgres").exists());
}

#[tokio::test]
async fn detached_it_runs_until_down() {
    let place = Place::new(users()[0]);
    let (status, text) = place.run(&["up", "--detach"]);
    assert!(status.success() && text.contains("Holdfast runs."), "{text}");
    let (status, text) = place.run(&["up", "--detach"]);
    assert_eq!(status.code(), Some(1), "{text}");
    let (status, text) = place.run(&["down"]);
    assert!(status.success() && text.contains("Ended"), "{text}");
    let (status, text) = place.run(&["down"]);
    assert!(status.success() && text.contains("Nothing runs"), "{text}");
}

#[tokio::test]
async fn secrets_and_addresses_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new(users()[0]);
    let running = place.up(&[]);
    for file in ["secrets.json", "endpoints.json", "run/redis.conf", "run/reservation.toml"] {
        let mode = std::fs::metadata(place.state().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for process in running.processes() {
        let secrets = std::fs::read_to_string(place.state().join("secrets.json")).unwrap();
        let secrets: std::collections::BTreeMap<String, String> = serde_json::from_str(&secrets).unwrap();
        let command = crate::runner::describe(process);
        assert!(secrets.values().all(|secret| !command.contains(secret)), "a secret in the arguments: {command}");
    }
}

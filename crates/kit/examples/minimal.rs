//! The smallest service: it serves health, reflection and the admin port, and nothing else. Kit's own tests run it as a process.

use std::process::ExitCode;

use holdfast_kit::{
    CancellationToken, Common, Listeners, MethodTable, Metrics, Readiness, Server, Service, ServiceConfig,
};
use sqlx::migrate::Migrator;

static METHODS: MethodTable = MethodTable::new(&[], &[]);
static MIGRATOR: Migrator = Migrator::DEFAULT;

/// Common sections, and one key of its own.
#[derive(Debug, serde::Deserialize)]
struct Config {
    #[serde(flatten)]
    common: Common,
    greeting: GreetingConfig,
}

#[derive(Debug, serde::Deserialize)]
struct GreetingConfig {
    times: u32,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl ServiceConfig for Config {
    const DEFAULTS: &'static str = "\
[greeting]
# How often to greet. Too high: a long log.
times = 1
";
    const ENV_PREFIX: &'static str = "HOLDFAST_MINIMAL";

    fn problems(&self) -> Vec<String> {
        if self.greeting.times == 0 { vec![String::from("greeting.times must be at least 1")] } else { Vec::new() }
    }
}

struct Minimal;

impl Service for Minimal {
    const NAME: &'static str = "holdfast-minimal";
    type Config = Config;

    fn methods() -> &'static MethodTable {
        &METHODS
    }

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    async fn run(config: Config, listeners: Listeners, shutdown: CancellationToken) -> anyhow::Result<()> {
        for _ in 0..config.greeting.times {
            tracing::info!("hello");
        }
        Server::new(&config.common, Self::NAME, &METHODS, &Metrics::new())
            .serve(listeners, || Readiness::Ready, shutdown)
            .await?;
        Ok(())
    }
}

fn main() -> ExitCode {
    holdfast_kit::main::<Minimal>()
}

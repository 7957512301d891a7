//! `./dev stores`: the tests' stores without the tests.

use std::process::ExitCode;

use crate::error::Result;
use crate::project::Project;
use crate::say::say;
use crate::signals::Interrupts;
use crate::teststores::TestStores;

/// Runs them until it is told to stop.
pub(crate) async fn run(project: &Project) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let mut stores = TestStores::start(project).await?;
    stores.publish(project)?;
    say("The tests' stores run; cargo nextest run finds them. Ctrl-C ends them.");
    for (name, value) in stores.info.variables() {
        say(format!("export {name}='{value}'"));
    }
    match stores.postgres().and_then(|postgres| postgres.process()) {
        Some(process) => tokio::select! {
            () = interrupts.next() => {}
            error = process.ended() => return Err(error),
        },
        None => interrupts.next().await,
    }
    stores.stop().await?;
    Ok(ExitCode::SUCCESS)
}

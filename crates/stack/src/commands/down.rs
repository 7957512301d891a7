//! `./dev down`: ends what `up` started.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Result, StackError};
use crate::project::Project;
use crate::say::say;

/// Longer than a stack takes to end in order.
const WITHIN: Duration = Duration::from_secs(100);

/// Asks the stack of this folder to end and waits until it has; kills it when it does not.
pub(crate) async fn run(project: &Project) -> Result<ExitCode> {
    let Some(pid) = project.holder() else {
        say("Nothing runs in this folder.");
        return Ok(ExitCode::SUCCESS);
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(StackError::NotRunning)?;
    let send = |signal| {
        kill_process(process, signal).map_err(|error| StackError::io(format!("ending process {pid}"), error.into()))
    };
    send(Signal::TERM)?;
    let give_up = Instant::now() + WITHIN;
    while project.holder() == Some(pid) {
        if Instant::now() >= give_up {
            say(format!("Process {pid} does not end; killing it."));
            send(Signal::KILL)?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say("Ended; the data stays. ./dev reset throws it away.");
    Ok(ExitCode::SUCCESS)
}

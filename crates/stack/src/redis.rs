//! A private Redis: nothing on disk, nothing evicted, and a user for the gate that can do what the gate does and no more.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{Result, StackError};
use crate::ports::Port;
use crate::process::Process;
use crate::programs::RedisProgram;
use crate::project::write_private;

/// The user for the stack, tests and people.
pub const ADMIN: &str = "holdfast_admin";
/// The user that reservation's gate connects as.
pub const GATE: &str = "holdfast_reservation";
const READY_WITHIN: Duration = Duration::from_secs(20);
/// To wipe a million keys takes a second or two.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// What the gate's user may do: the same file that the gate's own tests compare with its scripts.
const GATE_RULES: &str = include_str!("../../../services/reservation/redis.acl");

/// How a private Redis runs.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Folder for its configuration.
    pub folder: PathBuf,
    /// The log file, appended to.
    pub log: PathBuf,
    /// Password of [`ADMIN`].
    pub admin_password: String,
    /// Password of [`GATE`].
    pub gate_password: String,
    /// Where to listen on 127.0.0.1.
    pub port: Port,
    /// Further lines of its configuration.
    pub extra: String,
}

/// A private Redis server. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    program: RedisProgram,
    options: RedisOptions,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// Starts an empty Redis and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`StackError::PortInUse`], [`StackError::NotWritable`]; [`StackError::Died`] or [`StackError::NotReady`] with the
    /// log otherwise. Nothing runs then.
    pub async fn start(program: &RedisProgram, options: RedisOptions) -> Result<Self> {
        let mut redis = Self { program: program.clone(), options, port: 0, process: None };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Starts it after a stop, empty, on the same port. Does nothing when it runs.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.check_alive().is_ok()
        {
            return Ok(());
        }
        let folder = &self.options.folder;
        std::fs::create_dir_all(folder).map_err(|error| StackError::unwritable(folder, error))?;
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            let same_port_again = self.port != 0;
            if !same_port_again {
                self.port = self.options.port.pick("Redis")?;
            }
            let configuration = self.options.folder.join("redis.conf");
            write_private(&configuration, &self.configuration())?;
            let spec = self.program.spec("Redis").arg(configuration).log(&self.options.log);
            let mut process = Process::spawn(&spec).await?;
            let Err(error) = self.wait_until_ready(&mut process, give_up).await else {
                self.process = Some(process);
                return Ok(());
            };
            let port_taken = process.log_text().contains("Address already in use");
            match (port_taken, self.options.port) {
                (true, Port::Free) if !same_port_again => self.port = 0,
                (true, _) => return Err(StackError::PortInUse { what: "Redis".into(), port: self.port }),
                (false, _) => return Err(error),
            }
        }
    }

    /// Kills it; what it held is gone.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().await
    }

    /// Kills it and starts it again: empty, without any script.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`].
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Stops it in the middle of whatever it does; connections stay open and nobody is answered.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// The port on 127.0.0.1; it stays the same over stops and starts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// The address for the stack, tests and people.
    pub fn admin_url(&self) -> String {
        format!("redis://{ADMIN}:{}@127.0.0.1:{}/0", self.options.admin_password, self.port)
    }

    /// The address for reservation's gate.
    pub fn gate_url(&self) -> String {
        format!("redis://{GATE}:{}@127.0.0.1:{}/0", self.options.gate_password, self.port)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    fn configuration(&self) -> String {
        let RedisOptions { folder, admin_password, gate_password, extra, .. } = &self.options;
        format!(
            "bind 127.0.0.1\nport {port}\ntcp-backlog 511\ndir \"{folder}\"\ndaemonize no\nsave \"\"\nappendonly no\n\
             maxmemory 512mb\nmaxmemory-policy noeviction\nenable-debug-command yes\n\
             user default off\n\
             user {ADMIN} on >{admin_password} ~* &* +@all\n\
             user {GATE} on >{gate_password} {gate_rules}\n{extra}\n",
            gate_rules = gate_rules(),
            port = self.port,
            folder = folder.display(),
        )
    }

    async fn wait_until_ready(&self, process: &mut Process, give_up: Instant) -> Result<()> {
        loop {
            process.check_alive()?;
            let Err(error) = ask(&self.admin_url(), &["PING"]).await else { return Ok(()) };
            if Instant::now() >= give_up {
                let (name, log) = (process.name().to_owned(), process.log().to_owned());
                return Err(StackError::NotReady { name, waited: READY_WITHIN, detail: error.to_string(), log });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The rules on one line, as the configuration file wants them.
fn gate_rules() -> String {
    let rules = GATE_RULES.lines().filter(|line| !line.starts_with('#'));
    rules.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Removes everything that the Redis at `url` holds, scripts included: the fault "FLUSHALL under load".
///
/// # Errors
///
/// [`StackError::Store`]; it may have been wiped when the connection broke after the request.
pub async fn wipe(url: &str) -> Result<()> {
    ask(url, &["SCRIPT", "FLUSH", "SYNC"]).await?;
    ask(url, &["FLUSHALL", "SYNC"]).await
}

/// A connection that waits as long as a command on a large Redis takes.
pub(crate) async fn patient_connection(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(COMMAND_WITHIN))
        .set_response_timeout(Some(COMMAND_WITHIN));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await
}

/// Sends one command over a connection of its own.
async fn ask(url: &str, words: &[&str]) -> Result<()> {
    answer(url, words).await.map(|_answer: redis::Value| ())
}

/// Sends one command over a connection of its own and reads its answer.
///
/// # Errors
///
/// [`StackError::Store`]; the command may have been done when the connection broke after the request.
pub async fn answer<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> Result<T> {
    let failed = |error: redis::RedisError| StackError::Store {
        doing: format!("asking Redis to {}", words.iter().take(3).copied().collect::<Vec<_>>().join(" ")),
        detail: error.to_string(),
    };
    let mut connection = patient_connection(url).await.map_err(failed)?;
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await.map_err(failed)
}

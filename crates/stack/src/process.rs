//! Child processes that cannot outlive us.
//!
//! Every child gets a parent-death signal. The kernel ties that signal to the *thread* that forked, so all children are
//! forked by one thread that lives as long as the process. Architecture invariant: nothing else in this crate spawns.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Result, StackError};

/// How a child is to be run.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    inherits_env: bool,
    hidden_parent: bool,
    cwd: Option<PathBuf>,
    output: Output,
    death: Signal,
    own_group: bool,
}

/// Where a child's output goes.
#[derive(Debug, Clone)]
enum Output {
    Inherit,
    Append(PathBuf),
}

impl Spec {
    /// A child called `name` in messages, with its output inherited, killed when this process dies.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            inherits_env: true,
            hidden_parent: false,
            cwd: None,
            output: Output::Inherit,
            death: Signal::KILL,
            own_group: true,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Gives the child these variables and none of ours.
    #[must_use]
    pub(crate) fn only_env(mut self, env: impl IntoIterator<Item = (String, String)>) -> Self {
        self.inherits_env = false;
        self.env = env.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }

    /// For a child that is the first process of its namespace, from which its parent cannot be seen.
    #[must_use]
    pub(crate) fn first_of_its_namespace(mut self) -> Self {
        self.hidden_parent = true;
        self
    }

    /// Sets the folder to run in.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Appends standard output and error to `path` instead of our own.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.output = Output::Append(path.into());
        self
    }

    /// The signal that the kernel sends when this process dies; SIGKILL unless said otherwise.
    #[must_use]
    pub fn death_signal(mut self, signal: Signal) -> Self {
        self.death = signal;
        self
    }

    /// Leaves the child in our process group, so that it hears the terminal's Ctrl-C itself.
    #[must_use]
    pub fn in_our_group(mut self) -> Self {
        self.own_group = false;
        self
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts `wrapper` before the program: `wrapper… program args…`.
    #[must_use]
    pub(crate) fn wrapped(mut self, wrapper: &[OsString]) -> Self {
        let Some((first, rest)) = wrapper.split_first() else { return self };
        let mut args = rest.to_vec();
        args.push(std::mem::replace(&mut self.program, first.into()).into_os_string());
        args.append(&mut self.args);
        self.args = args;
        self
    }

    fn log_path(&self) -> PathBuf {
        match &self.output {
            Output::Inherit => PathBuf::from("the terminal"),
            Output::Append(path) => path.clone(),
        }
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        if !self.inherits_env {
            command.env_clear();
        }
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        if let Some(folder) = &self.cwd {
            command.current_dir(folder);
        }
        if let Output::Append(path) = &self.output {
            let open = || OpenOptions::new().create(true).append(true).open(path);
            let unwritable = |error| StackError::unwritable(path, error);
            command.stdout(open().map_err(unwritable)?).stderr(open().map_err(unwritable)?);
        }
        if self.own_group {
            command.process_group(0);
        }
        die_with_parent(&mut command, self.death, self.hidden_parent);
        Ok(command)
    }
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
    log_start: u64,
}

impl Process {
    /// Starts a child.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the program cannot be run, [`StackError::NotWritable`] when its log cannot be written;
    /// nothing runs then.
    pub async fn spawn(spec: &Spec) -> Result<Self> {
        let log = spec.log_path();
        let log_start = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        let starting = |error| StackError::io(format!("starting {} ({})", spec.name, spec.program.display()), error);
        // Who has given its children a namespace of their own can make no thread any more; it has one only, which lives as long as it does.
        let child = if spec.hidden_parent { spec.command()?.spawn() } else { fork(spec.command()?).await };
        let child = child.map_err(starting)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| starting(io::Error::other("it ended before it had a process id")))?;
        Ok(Self { name: spec.name.clone(), child, pid, log, log_start })
    }

    /// Runs a child to its end; its output goes where the spec says.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]. A child that ends badly is an answer, not an error.
    pub async fn run(spec: &Spec) -> Result<ExitStatus> {
        Self::spawn(spec).await?.wait().await
    }

    /// Runs a child to its end and returns what it wrote to standard output and error together.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`], and [`StackError::Command`] with the last lines when the child ends badly.
    pub async fn output(spec: &Spec) -> Result<String> {
        let mut command = spec.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let starting = |error| StackError::io(format!("running {} ({})", spec.name, spec.program.display()), error);
        let child = fork(command).await.map_err(starting)?;
        let output = child.wait_with_output().await.map_err(starting)?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            return Ok(text);
        }
        let (command, status) = (spec.name.clone(), output.status.to_string());
        Err(StackError::Command { command, status, output: last_lines(&text, 12) })
    }

    /// Runs a child to its end and returns what it wrote to standard output; its errors go to ours.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]. A child that ends badly is an answer, not an error.
    pub async fn answer(spec: &Spec) -> Result<(ExitStatus, String)> {
        let mut command = spec.command()?;
        command.stdout(Stdio::piped());
        let starting = |error| StackError::io(format!("running {} ({})", spec.name, spec.program.display()), error);
        let child = fork(command).await.map_err(starting)?;
        let output = child.wait_with_output().await.map_err(starting)?;
        Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it writes its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it wrote to its log since it was started, at most the last 64 KiB.
    pub fn log_text(&self) -> String {
        read_from(&self.log, self.log_start).unwrap_or_default()
    }

    /// Sends a signal; a child that has already ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        // Asking first reaps a child that has ended, so that its number cannot belong to somebody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ended_meanwhile = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Says whether it still runs.
    ///
    /// # Errors
    ///
    /// [`StackError::Died`] with the last lines of its log when it does not.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.died(status)),
            Err(error) => Err(StackError::io(format!("looking at {}", self.name), error)),
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.map_err(|error| StackError::io(format!("waiting for {}", self.name), error))
    }

    /// Waits until it ends and says so as an error: for children that should never end by themselves.
    pub async fn ended(&mut self) -> StackError {
        match self.wait().await {
            Ok(status) => self.died(status),
            Err(error) => error,
        }
    }

    /// Asks it to end with `signal`, and kills it when it has not after `grace`. Says whether it ended by itself.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn stop(&mut self, signal: Signal, grace: Duration) -> Result<bool> {
        self.signal(signal);
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            status.map_err(|error| StackError::io(format!("stopping {}", self.name), error))?;
            return Ok(true);
        }
        self.kill().await?;
        Ok(false)
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`StackError::Io`] when the system cannot tell.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.wait().await.map(|_status| ())
    }

    fn died(&self, status: ExitStatus) -> StackError {
        let tail = last_lines(&self.log_text(), 6);
        StackError::Died { name: self.name.clone(), status, log: self.log.clone(), tail }
    }
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    const MOST: u64 = 64 * 1024;
    let mut file = std::fs::File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(MOST))))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Job {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Forks on the one thread that never ends before the process does.
async fn fork(command: Command) -> io::Result<Child> {
    static FORKER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for Job { mut command, runtime, reply } in jobs {
                let _inside = runtime.enter();
                let _nobody_waits_any_more = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    forker.send(Job { command, runtime: Handle::current(), reply }).map_err(|_closed| gone())?;
    answer.await.map_err(|_closed| gone())?
}

#[expect(unsafe_code, reason = "there is no other way to have the kernel end a child whose parent was killed")]
fn die_with_parent(command: &mut Command, death: Signal, hidden_parent: bool) {
    let parent = (!hidden_parent).then(rustix::process::getpid);
    let arm = move || {
        rustix::process::set_parent_process_death_signal(Some(death))?;
        // A parent that died before the signal was armed would never be noticed.
        if rustix::process::getppid() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only prctl and getppid are called: plain system calls that neither allocate nor
    // take locks.
    unsafe {
        command.pre_exec(arm);
    }
}

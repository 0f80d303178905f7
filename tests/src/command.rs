//! The `concord` command as a process of its own: run, interrupted, paused and killed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::{PATIENCE, process, terminal, wait_until};

/// A folder with a `concord.toml`, in which commands are run.
#[derive(Debug)]
pub struct Concord {
    folder: TempDir,
    environment: Vec<(String, String)>,
    timeout: Duration,
    largest_file: Option<u64>,
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs in the background. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    keyboard: Option<File>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    timeout: Duration,
}

impl Concord {
    /// A fresh folder with this `concord.toml`.
    pub fn new(config: &str) -> Concord {
        let folder = tempfile::Builder::new().prefix("concord-").tempdir().expect("a temporary folder");
        let concord = Concord { folder, environment: Vec::new(), timeout: 2 * PATIENCE, largest_file: None };
        concord.write("concord.toml", config);
        concord
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder, in place of one of the same name.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("the folder is ours");
        std::fs::write(path, content).expect("the folder is ours");
    }

    /// Sets an environment variable for the commands started from now on.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Concord {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the fault points for the commands started from now on, see [`concord::fault`]; empty for none.
    pub fn faults(&mut self, rules: &str) -> &mut Concord {
        self.env("CONCORD_FAULT", rules)
    }

    /// How long a command may run before it is killed and the test fails.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Concord {
        self.timeout = timeout;
        self
    }

    /// How large a file the commands started from now on may make, in bytes; writing beyond fails as on a disk that is full.
    pub fn largest_file(&mut self, bytes: Option<u64>) -> &mut Concord {
        self.largest_file = bytes;
        self
    }

    /// Runs a command to its end, whatever that is.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait().await
    }

    /// Starts a command and returns at once.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.env("NO_COLOR", "1").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = self.spawn(command, arguments);
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        running.collect(stdout.expect("stdout is a pipe"), Arc::clone(&running.stdout));
        running.collect(stderr.expect("stderr is a pipe"), Arc::clone(&running.stderr));
        running
    }

    /// The same on a terminal of so many columns. What is shown there is told as what was said on stdout.
    pub fn start_on_terminal(&self, columns: u16, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.env_remove("NO_COLOR").env("TERM", "xterm");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let ours = terminal::give(&mut command, columns).expect("the system has terminals to give");
        let mut running = self.spawn(command, arguments);
        running.collect(ours.try_clone().expect("a file of ours"), Arc::clone(&running.stdout));
        running.keyboard = Some(ours);
        running
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(arguments).current_dir(self.folder.path());
        // Neither the person's settings nor the test's own faults.
        command.env_remove("CONCORD_FAULT").env_remove("RUST_LOG");
        command
    }

    fn spawn(&self, mut command: Command, arguments: &[&str]) -> Running {
        process::restrict(&mut command, self.largest_file);
        let line = format!("concord {}", arguments.join(" "));
        let child = process::spawn(command, libc::SIGKILL).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        Running { child, line, keyboard: None, stdout, stderr, readers: Vec::new(), timeout: self.timeout }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `libc::SIGTERM`.
    pub fn signal(&self, signal: i32) {
        process::signal(self.child.id(), signal);
    }

    /// Types on the terminal on which the command was started, `\n` for return and `\x03` for Ctrl-C.
    pub fn enter(&self, keys: &str) {
        let mut keyboard = self.keyboard.as_ref().expect("it was started on a terminal");
        keyboard.write_all(keys.as_bytes()).expect("the terminal is ours");
    }

    fn collect(&mut self, from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
        self.readers.push(collect(from, into));
    }

    /// What was said so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Whether the command has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("the command is a child of this process").is_some()
    }

    /// Waits for a line that contains `part`, on stdout or stderr, and returns it. Panics if the command ends without.
    pub async fn line(&mut self, part: &str) -> String {
        let what = format!("`{part}` from `{}`", self.line);
        let timeout = self.timeout;
        wait_until(&what, timeout, async || {
            // First whether it has ended, then what it said: so nothing is missed that it said at the end.
            let ended = self.ended() && self.readers.iter().all(JoinHandle::is_finished);
            let said = self.stdout() + &self.stderr();
            let found = said.lines().find(|line| line.contains(part)).map(str::to_owned);
            assert!(found.is_some() || !ended, "`{}` ended without saying `{part}`:\n{said}", self.line);
            found
        })
        .await
    }

    /// Kills the command, as the system would that runs out of memory, and returns what it said until then.
    pub async fn kill(self) -> Output {
        self.signal(libc::SIGKILL);
        self.wait().await
    }

    /// Waits for the command's end. Panics if it takes too long.
    pub async fn wait(mut self) -> Output {
        let what = format!("the end of `{}`", self.line);
        let timeout = self.timeout;
        let status =
            wait_until(&what, timeout, async || self.child.try_wait().expect("the command is a child of this process"))
                .await;
        for reader in std::mem::take(&mut self.readers) {
            reader.join().expect("a reader does not panic");
        }
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long since.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("`{}` said:\n{}{}", self.line, self.stdout(), self.stderr());
        }
    }
}

impl Output {
    /// Panics with everything that was said unless the command ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(
            self.status.code(),
            Some(code),
            "exit code (signal {:?})\n--- stdout\n{}\n--- stderr\n{}",
            self.status.signal(),
            self.stdout,
            self.stderr
        );
        self
    }

    /// Panics unless the command ended with exit code 0.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.expect(0)
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON document ({error}):\n{}\n{}", self.stdout, self.stderr))
    }

    /// Whether a text occurs in what was said.
    pub fn says(&self, part: &str) -> bool {
        self.stdout.contains(part) || self.stderr.contains(part)
    }
}

/// The command next to this test in the target folder.
fn executable() -> PathBuf {
    let this = std::env::current_exe().expect("a process knows its program");
    let named = format!("concord-under-test{}", std::env::consts::EXE_SUFFIX);
    // Tests lie in `deps`, other programs beside the command.
    let found = this.ancestors().skip(1).take(2).map(|folder: &Path| folder.join(&named)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{named} is not built: cargo build -p concord-tests --bins"))
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            locked(&into).extend_from_slice(&buffer[..read]);
        }
    })
}

fn locked(said: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(said: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&locked(said)).into_owned()
}

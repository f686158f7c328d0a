//! Starts real programs, waits until they are ready, and never leaves one behind.
//!
//! INVARIANT: a process started here is killed and reaped, by its own id, when its [`Running`] is dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::conn::find;

const POLL: Duration = Duration::from_millis(5);

/// A program about to be started.
pub struct Launch {
    name: String,
    command: Command,
}

/// A program that runs. Its two outputs go to one file, shown if the test fails.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Launch {
    /// The program at this path, with an empty standard input.
    #[must_use]
    pub fn program(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path.as_ref());
        command.stdin(Stdio::null());
        let name =
            PathBuf::from(path.as_ref()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, command }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(mut self) -> Running {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("output");
        let out = File::create(&log).expect("our own directory");
        let err = out.try_clone().expect("one more descriptor");
        let child = self.command.stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start `{}`: {e}", self.name));
        Running { name: self.name, child, log, _dir: dir }
    }

    /// Runs it to its end: status and everything it printed.
    ///
    /// # Panics
    /// If it cannot be started or has not ended within `limit`.
    #[must_use]
    pub fn finish(self, limit: Duration) -> (ExitStatus, String) {
        let mut running = self.start();
        match running.ends_within(limit) {
            Some(status) => (status, running.output()),
            None => panic!("`{}` still runs after {limit:?}: {}", running.name, running.output()),
        }
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has printed so far, both outputs together.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The first whole line that contains `text`.
    ///
    /// # Panics
    /// If the line has not come within `limit`, or the program has ended.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        self.wait_until(&format!("a line with {text:?}"), limit, |running| {
            let output = running.output();
            let at = find(output.as_bytes(), text.as_bytes())?;
            let start = output[..at].rfind('\n').map_or(0, |n| n + 1);
            let end = at + output[at..].find('\n')?;
            Some(output[start..end].to_owned())
        })
    }

    /// Waits until something accepts connections there.
    ///
    /// # Panics
    /// If nothing does within `limit`, or the program has ended.
    pub fn wait_for_port(&mut self, address: SocketAddr, limit: Duration) {
        self.wait_until(&format!("a listener on {address}"), limit, |_| {
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop)
        });
    }

    /// Waits until `ready` gives a value.
    ///
    /// # Panics
    /// If it gives none within `limit`, or the program has ended.
    pub fn wait_until<T>(&mut self, what: &str, limit: Duration, ready: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + limit;
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("`{}` ended with {status} before {what}:\n{}", self.name, self.output());
            }
            assert!(
                Instant::now() < end,
                "`{}` had not shown {what} after {limit:?}:\n{}",
                self.name,
                self.output()
            );
            thread::sleep(POLL);
        }
    }

    /// Sends a signal to this process and no other.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks it to end (SIGTERM) and waits for up to `limit`.
    ///
    /// # Panics
    /// If it has not ended by then.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ends_within(limit).unwrap_or_else(|| {
            panic!("`{}` still runs {limit:?} after SIGTERM:\n{}", self.name, self.output())
        })
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its status once it has ended, waiting for up to `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(POLL);
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let output = self.output();
            let from = output.char_indices().rev().nth(8_000).map_or(0, |(at, _)| at);
            eprintln!("--- what `{}` printed ---\n{}\n---", self.name, &output[from..]);
        }
    }
}

/// A port of 127.0.0.1 that was free a moment ago, for programs that cannot be told to take port 0.
///
/// Where a program can bind port 0 and say which one it got, use that instead: this one can be taken meanwhile.
///
/// # Panics
/// If loopback has no free port.
#[must_use]
pub fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_awaited_and_the_process_dies_with_its_owner() {
        let mut running = Launch::program("/bin/sh").args(["-c", "echo is ready; exec sleep 60"]).start();
        assert_eq!(running.wait_for_line("ready", Duration::from_secs(5)), "is ready");
        let stat = format!("/proc/{}/stat", running.id());
        assert!(fs::exists(&stat).unwrap());
        drop(running);
        assert!(!fs::exists(&stat).unwrap());
    }

    #[test]
    fn a_program_that_ends_says_how_and_what_it_printed() {
        let (status, output) = Launch::program("/bin/sh")
            .args(["-c", "echo one; echo two >&2; exit 3"])
            .finish(Duration::from_secs(5));
        assert_eq!(status.code(), Some(3));
        assert_eq!(output, "one\ntwo\n");
    }
}

//! Starts real programs, waits until they are ready, and never leaves one behind.
//!
//! Waiting is for the kernel's own events: the log has grown (inotify(7)), the process has ended (pidfd_open(2)).
//!
//! INVARIANT: a process started here is killed and reaped, by its own id, when its [`Running`] is dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use crate::conn::find;

/// A program about to be started.
pub struct Launch {
    name: String,
    command: Command,
}

/// A program that runs. Its two outputs go to one file, shown if the test fails.
pub struct Running {
    name: String,
    child: Child,
    /// Readable once the process has ended.
    end: OwnedFd,
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
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
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
        let end = pid(&child).map(|pid| pidfd_open(pid, PidfdFlags::empty()).expect("our own child"));
        Running { name: self.name, child, end: end.expect("a process id"), log, _dir: dir }
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
    pub fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        self.wait_until(&format!("a line with {text:?}"), limit, |running| {
            let output = running.output();
            let at = find(output.as_bytes(), text.as_bytes())?;
            let start = output[..at].rfind('\n').map_or(0, |n| n + 1);
            let end = at + output[at..].find('\n')?;
            Some(output[start..end].to_owned())
        })
    }

    /// Waits until `ready` finds a value in the output. It is asked again whenever there is more of it.
    ///
    /// # Panics
    /// If it finds none within `limit`, or before the program ended.
    pub fn wait_until<T>(&self, what: &str, limit: Duration, ready: impl Fn(&Self) -> Option<T>) -> T {
        self.within(limit, ready).unwrap_or_else(|| {
            let how = if self.has_ended() { "ended before" } else { "ran on without" };
            panic!("`{}` {how} {what}, in {limit:?}:\n{}", self.name, self.output())
        })
    }

    /// The same, for who has more to say when there is none.
    pub fn within<T>(&self, limit: Duration, ready: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let grown = watch(&self.log);
        let end = Instant::now() + limit;
        loop {
            // Asked before the question, so that what is said last is not missed.
            let last = self.has_ended() || Instant::now() >= end;
            let found = ready(self);
            if found.is_some() || last {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            wait(&mut [PollFd::new(&grown, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)], left);
            let mut heard = [0; 4096];
            while rustix::io::read(&grown, &mut heard).is_ok_and(|n| n > 0) {}
        }
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        wait(&mut [PollFd::new(&self.end, PollFlags::IN)], Duration::ZERO)
    }

    /// Sends a signal to this process and no other.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = pid(&self.child) {
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
        wait(&mut [PollFd::new(&self.end, PollFlags::IN)], limit);
        self.child.try_wait().ok().flatten()
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

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Readable when the file has grown since it was last read.
fn watch(log: &Path) -> OwnedFd {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let grown = inotify::init(flags).expect("one more descriptor");
    inotify::add_watch(&grown, log, inotify::WatchFlags::MODIFY).expect("our own file");
    grown
}

/// Waits until one of them is ready, for up to `limit`; whether one is.
fn wait(fds: &mut [PollFd<'_>], limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a short time");
    poll(fds, Some(&limit)).is_ok_and(|ready| ready > 0)
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
        let running = Launch::program("/bin/sh").args(["-c", "echo is ready; exec sleep 60"]).start();
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

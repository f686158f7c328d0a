//! Runs other programs: shown as they go, or read.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fault::{During as _, Fault, Outcome};
use crate::tree;

/// A program to be run at the root of the tree.
pub(crate) struct Run {
    command: Command,
    shown: String,
}

/// A program's output and whether it was content.
pub(crate) struct Ran {
    pub(crate) good: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(tree::root()).stdin(Stdio::null());
        let shown = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        Self { command, shown }
    }

    /// The cargo that runs this, and its toolchain.
    pub(crate) fn cargo() -> Self {
        Self::new("cargo")
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it with its output on this terminal; a bad status is a fault.
    pub(crate) fn show(self) -> Outcome {
        println!("   $ {}", self.shown);
        self.show_only()
    }

    /// The same without a line of our own before it.
    pub(crate) fn show_only(mut self) -> Outcome {
        let status = self.command.status().during(format!("cannot start `{}`", self.shown))?;
        if status.success() {
            return Ok(());
        }
        Err(Fault::new(format!("`{}` ended with {status}", self.shown)))
    }

    /// Runs it in silence and keeps what it says.
    pub(crate) fn read(mut self) -> Outcome<Ran> {
        let output = self.command.output().during(format!("cannot start `{}`", self.shown))?;
        Ok(Ran {
            good: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it in silence; a bad status is a fault that shows the end of what it said.
    pub(crate) fn quiet(self) -> Outcome<String> {
        let shown = self.shown.clone();
        let ran = self.read()?;
        if ran.good {
            return Ok(ran.stdout);
        }
        let said: Vec<&str> = ran.stderr.lines().chain(ran.stdout.lines()).collect();
        let tail = said.len().saturating_sub(12);
        Err(Fault::new(format!(
            "`{shown}` failed:\n    {}",
            said.get(tail..).unwrap_or_default().join("\n    ")
        )))
    }

    /// Runs it with both outputs on this terminal, and keeps the lines too.
    pub(crate) fn tee(mut self) -> Outcome<Ran> {
        println!("   $ {}", self.shown);
        // One pipe for both outputs: their order is kept and one reader is enough.
        let (reader, writer) = std::io::pipe().during("cannot make a pipe")?;
        let other = writer.try_clone().during("cannot copy a pipe")?;
        let mut child = self
            .command
            .stdout(writer)
            .stderr(other)
            .spawn()
            .during(format!("cannot start `{}`", self.shown))?;
        // The command holds the writing ends; the reader would never see the end of the file otherwise.
        drop(self.command);
        let mut stdout = String::new();
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap_or_default();
            println!("   {line}");
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let good = child.wait().during(format!("waiting for `{}`", self.shown))?.success();
        Ok(Ran { good, stdout, stderr: String::new() })
    }
}

/// Where a program of that name is on the search path.
pub(crate) fn which(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_are_kept_in_their_order() {
        let ran = Run::new("sh").args(["-c", "echo one; echo two >&2; echo three; exit 3"]).tee().unwrap();
        assert_eq!((ran.stdout.as_str(), ran.good), ("one\ntwo\nthree\n", false));
    }

    #[test]
    fn a_quiet_failure_shows_what_was_said() {
        let fault = Run::new("sh").args(["-c", "echo why >&2; exit 1"]).quiet().unwrap_err().to_string();
        assert!(fault.contains("why"), "{fault}");
    }
}

//! Programs out of Debian packages, unpacked without root.
//!
//! apt gets lists and a cache of its own below `target/tools/debian`, so that nothing on the machine changes and no
//! rights are needed. The packages that are missing (apt works that out against what is installed) are downloaded,
//! checked by apt and unpacked with `dpkg -x`; a small script in front of each program sets the library path. If a
//! program does not run that way and we are root, `apt-get install` is the last resort.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::say;
use super::table::{DEBIAN, Debian};
use crate::fault::{During as _, Fault, Outcome};
use crate::run::{Run, which};

/// Brings every program of the table; gives one line for each that could not be had.
pub(crate) fn bring(manifest: &mut Manifest, without: &[String]) -> Vec<String> {
    let mut apt = Apt { dir: manifest.dir().join("debian"), fresh: false, unpacked: Vec::new() };
    let mut missing = Vec::new();
    for tool in DEBIAN {
        if without.iter().any(|n| n == tool.name) {
            say(tool.name, "left out, as asked");
        } else if let Some(entry) = manifest.find(tool.name) {
            say(tool.name, &format!("{}  is there", entry.version));
        } else {
            match apt.obtain(tool) {
                Ok((path, version)) => manifest.add(tool.name, path, &version),
                Err(fault) => missing.push(format!("{}: {fault}", tool.name)),
            }
        }
    }
    missing
}

/// Brings one program that is not there yet.
pub(crate) fn bring_one(manifest: &mut Manifest, tool: &'static Debian) -> Outcome {
    let mut apt = Apt { dir: manifest.dir().join("debian"), fresh: false, unpacked: Vec::new() };
    let (path, version) = apt.obtain(tool)?;
    manifest.add(tool.name, path, &version);
    Ok(())
}

struct Apt {
    dir: PathBuf,
    /// Have the lists been fetched in this run?
    fresh: bool,
    /// Packages unpacked in this run: one may hold several programs.
    unpacked: Vec<&'static str>,
}

impl Apt {
    fn obtain(&mut self, tool: &Debian) -> Outcome<(PathBuf, String)> {
        let program = Path::new(tool.program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(path) = which(&program).filter(|path| runs(path, tool)) {
            let version = installed(tool.package).unwrap_or_else(|| "as installed".to_owned());
            return Ok((path, version));
        }
        let unpacked = self.unpack(tool.package).and_then(|()| self.wrap(tool, &program));
        match unpacked {
            Ok(path) if runs(&path, tool) => Ok((path, self.version(tool.package)?)),
            unpacked => self.install(tool, &program, unpacked.err()),
        }
    }

    /// Downloads the package and whatever of its dependencies this machine lacks, and unpacks them all.
    fn unpack(&mut self, package: &'static str) -> Outcome {
        if self.unpacked.contains(&package) {
            return Ok(());
        }
        self.update()?;
        let wanted = self.missing(package)?;
        let archives = self.dir.join("archives");
        fs::create_dir_all(&archives).during("cannot make a folder")?;
        let names: Vec<&str> = wanted.iter().map(|w| w.name.as_str()).collect();
        say(package, &format!("fetching {}", names.join(" ")));
        let specs = wanted.iter().map(|w| format!("{}={}", w.name, w.version));
        self.apt().args(["download", "-q"]).args(specs).dir(&archives).quiet()?;
        let root = self.root();
        for archive in &wanted {
            let file = archives.join(&archive.file);
            Run::new("dpkg").args([Path::new("-x"), &file, &root]).quiet()?;
        }
        self.unpacked.push(package);
        Ok(())
    }

    /// What apt would have to fetch for this package to work here.
    fn missing(&self, package: &str) -> Outcome<Vec<Archive>> {
        let out = self
            .apt()
            .args(["install", "--print-uris", "-qq", "--no-install-recommends", package])
            .quiet()?;
        let mut wanted: Vec<Archive> = out.lines().filter_map(Archive::parse).collect();
        if !wanted.iter().any(|w| w.name == package) {
            // Installed, yet the program did not run: fetch at least the package itself.
            let version = self.version(package)?;
            let file = self.apt().args(["download", "--print-uris", "-qq", package]).quiet()?;
            let file = file.split_whitespace().nth(1).unwrap_or_default().to_owned();
            wanted.push(Archive { name: package.to_owned(), version, file });
        }
        Ok(wanted)
    }

    fn update(&mut self) -> Outcome {
        if self.fresh {
            return Ok(());
        }
        for folder in ["lists/partial", "cache/archives/partial", "log", "root"] {
            fs::create_dir_all(self.dir.join(folder)).during("cannot make a folder")?;
        }
        say("apt-get", "update, into lists of our own");
        self.apt().args(["update", "-qq"]).quiet()?;
        self.fresh = true;
        Ok(())
    }

    fn version(&self, package: &str) -> Outcome<String> {
        let shown = self.apt_cache().args(["show", "--no-all-versions", package]).quiet()?;
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
        version.map(str::to_owned).ok_or_else(|| Fault::new(format!("apt does not know `{package}`")))
    }

    /// Puts a script in front of the program that points it at its libraries.
    fn wrap(&self, tool: &Debian, program: &str) -> Outcome<PathBuf> {
        let bin = self.dir.join("bin");
        fs::create_dir_all(&bin).during("cannot make a folder")?;
        let path = bin.join(program);
        fs::write(&path, script(&self.root(), tool)).during("cannot write a script")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .during("cannot make a script executable")?;
        Ok(path)
    }

    fn install(&self, tool: &Debian, program: &str, why: Option<Fault>) -> Outcome<(PathBuf, String)> {
        let why = why.map_or_else(|| "it does not run unpacked".to_owned(), |fault| fault.to_string());
        let root = Run::new("id").args(["-u"]).quiet()?.trim() == "0";
        if !root {
            return Err(Fault::new(format!("{why}; as root: apt-get install {}", tool.package)));
        }
        say(tool.name, &format!("{why}; installing it"));
        Run::new("apt-get").args(["update", "-qq"]).quiet()?;
        let args = ["install", "-y", "-qq", "--no-install-recommends", tool.package];
        Run::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").quiet()?;
        let path = which(program).filter(|path| runs(path, tool));
        let path = path.ok_or_else(|| Fault::new("installed, and still does not run"))?;
        Ok((path, installed(tool.package).unwrap_or_default()))
    }

    fn apt(&self) -> Run {
        Run::new("apt-get").args(self.options())
    }

    fn apt_cache(&self) -> Run {
        Run::new("apt-cache").args(self.options())
    }

    /// Lists, cache and log of our own, no lock on the machine's; what is installed is still the machine's.
    fn options(&self) -> Vec<String> {
        let dir = self.dir.display();
        [
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::Cache={dir}/cache"),
            format!("Dir::Log={dir}/log"),
            "Debug::NoLocking=1".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }
}

/// One file to fetch.
#[derive(Debug, PartialEq, Eq)]
struct Archive {
    name: String,
    version: String,
    file: String,
}

impl Archive {
    /// Reads a line such as `'http://…/a_1%3a2_amd64.deb' a_1%3a2_amd64.deb 123 SHA256:…`.
    fn parse(line: &str) -> Option<Self> {
        let file = line.split_whitespace().nth(1)?;
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, version) = (parts.next()?, parts.next()?);
        Some(Self { name: name.to_owned(), version: version.replace("%3a", ":"), file: file.to_owned() })
    }
}

fn script(root: &Path, tool: &Debian) -> String {
    let root = root.display();
    let mut text = format!("#!/bin/sh\n# Written by `cargo xtask setup`.\nroot='{root}'\nlibs=\n");
    text +=
        "for dir in \"$root\"/usr/lib/*-linux-gnu \"$root\"/lib/*-linux-gnu; do libs=\"$libs:$dir\"; done\n";
    text += "export LD_LIBRARY_PATH=\"${libs#:}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n";
    text += "export PATH=\"$PATH:$root/usr/bin\"\n";
    for (key, below) in tool.env {
        text += &format!("export {key}=\"$root/{below}\"\n");
    }
    text + &format!("exec \"$root/{}\" \"$@\"\n", tool.program)
}

fn runs(path: &Path, tool: &Debian) -> bool {
    // wrk answers its version with status 1; what counts is that it could be loaded and said something.
    let ran = Run::new(path).args([tool.proof]).read();
    ran.is_ok_and(|r| {
        let said = format!("{}{}", r.stdout, r.stderr);
        (r.good || !said.trim().is_empty())
            && !said.contains("error while loading")
            && !said.contains("not found")
    })
}

fn installed(package: &str) -> Option<String> {
    let version = Run::new("dpkg-query").args(["-W", "-f", "${Version}", package]).quiet().ok()?;
    Some(version.trim().to_owned()).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_print_uris_is_read_with_its_epoch() {
        let line = "'http://deb.debian.org/x/bind9-libs_1%3a9.18_amd64.deb' bind9-libs_1%3a9.18_amd64.deb 11 SHA256:00";
        let want = Archive {
            name: "bind9-libs".to_owned(),
            version: "1:9.18".to_owned(),
            file: "bind9-libs_1%3a9.18_amd64.deb".to_owned(),
        };
        assert_eq!(Archive::parse(line), Some(want));
        assert_eq!(Archive::parse("Reading package lists..."), None);
    }
}

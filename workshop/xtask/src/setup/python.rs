//! Packages of PyPI in a virtual environment below `target/tools/python`.

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::say;
use super::table::{PYTHON, Python};
use crate::fault::{Fault, Outcome};
use crate::run::Run;

/// Brings every package of the table; gives one line for each that could not be had.
pub(crate) fn bring(manifest: &mut Manifest, without: &[String]) -> Vec<String> {
    let dir = manifest.dir().join("python");
    let mut missing = Vec::new();
    let (site, version) = match environment(&dir) {
        Ok(made) => made,
        Err(fault) => return vec![format!("a Python environment: {fault}")],
    };
    manifest.add("python", dir.join("bin/python"), &version);
    for tool in PYTHON {
        if without.iter().any(|n| n == tool.name) {
            say(tool.name, "left out, as asked");
        } else if manifest.find(tool.name).is_some_and(|e| e.version == tool.version) {
            say(tool.name, &format!("{}  is there", tool.version));
        } else {
            match obtain(&dir, &site, tool) {
                Ok(path) => manifest.add(tool.name, path, tool.version),
                Err(fault) => missing.push(format!("{}: {fault}", tool.name)),
            }
        }
    }
    missing
}

/// Makes the environment if it is not there; gives its `site-packages` and Python's version.
fn environment(dir: &Path) -> Outcome<(PathBuf, String)> {
    let python = dir.join("bin/python");
    if !python.exists() {
        Run::new("python3").args([Path::new("-m"), Path::new("venv"), dir]).quiet()?;
    }
    let ask = "import sys, sysconfig; print(sysconfig.get_path('purelib')); print(sys.version.split()[0])";
    let said = Run::new(&python).args(["-c", ask]).quiet()?;
    let mut lines = said.lines();
    match (lines.next(), lines.next()) {
        (Some(site), Some(version)) => Ok((PathBuf::from(site), version.to_owned())),
        _ => Err(Fault::new("Python does not say where its packages are")),
    }
}

fn obtain(dir: &Path, site: &Path, tool: &Python) -> Outcome<PathBuf> {
    let spec = format!("{}=={}", tool.package, tool.version);
    say(tool.name, &format!("pip install {spec}"));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    Run::new(dir.join("bin/python")).args(pip).args([spec.as_str()]).quiet()?;
    let path =
        tool.path.strip_prefix("{site}/").map_or_else(|| dir.join(tool.path), |below| site.join(below));
    if path.exists() {
        Ok(path)
    } else {
        Err(Fault::new(format!("`{}` is not in the package", path.display())))
    }
}

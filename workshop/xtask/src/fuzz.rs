//! `cargo xtask fuzz` and the suite `fuzz`: every target is built and run for a while, from the kept corpus on.
//!
//! INVARIANT: every target in `fuzz/fuzz_targets` has a row here and a corpus; what is found new stays under `target/fuzz`.
//!
//! Not here: what a target does (`fuzzing` in each room), the flags of coverage (`fuzz/.cargo/config.toml`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::fault::{During as _, Fault, Outcome};
use crate::run::Run;
use crate::tree;

/// A target, and its kept inputs below `workshop/vectors/corpus`.
const TARGETS: &[(&str, &str)] = &[
    ("certificate_request", "ca/request"),
    ("config", "config"),
    ("guard_request", "guard/request"),
    ("guard_response", "guard/response"),
    ("h2_meter", "guard/meter"),
    ("jws", "token/jws"),
    ("key_set", "token/key_set"),
    ("path", "guard/path"),
    ("scrub", "token/scrub"),
];

/// Takes the seconds, or a minute.
pub(crate) fn asked(args: &[String]) -> Outcome {
    let seconds = match args {
        [] => 60,
        [seconds] => seconds.parse().during("fuzz: how many seconds")?,
        _ => return Err(Fault::new("fuzz: one number of seconds, or nothing")),
    };
    println!("   {}", run(Duration::from_secs(seconds))?);
    Ok(())
}

/// Builds all targets, then runs each for `span`.
pub(crate) fn run(span: Duration) -> Outcome<String> {
    complete()?;
    let (folder, built) = (tree::root().join("fuzz"), tree::root().join("target/fuzz"));
    let cargo = |words: &[&str]| Run::cargo().args(words).dir(&folder).env("CARGO_TARGET_DIR", &built);
    cargo(&["build", "--quiet", "--locked", "--bins"]).show()?;
    for (target, kept) in TARGETS {
        let found = built.join("found").join(target);
        fs::create_dir_all(&found).during("cannot make a folder")?;
        let kept = tree::root().join("workshop/vectors/corpus").join(kept);
        let time = format!("-max_total_time={}", span.as_secs());
        let artifacts = format!("-artifact_prefix={}/", found.display());
        let words = ["run", "--quiet", "--locked", "--bin", target, "--", &time, &artifacts, "-verbosity=0"];
        cargo(&words).args([found.as_path(), kept.as_path()]).quiet()?;
        println!("   {target:<16} {} s, nothing found", span.as_secs());
    }
    Ok(format!("({} targets)", TARGETS.len()))
}

/// Holds the table to the folder of targets, and each target to a corpus.
fn complete() -> Outcome {
    let mut missing = Vec::new();
    for entry in
        fs::read_dir(tree::root().join("fuzz/fuzz_targets")).during("cannot list the fuzz targets")?
    {
        let path = entry.during("cannot list the fuzz targets")?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !TARGETS.iter().any(|(target, _)| *target == name) {
            missing.push(format!("`{name}` has no row"));
        }
    }
    let corpus = |kept: &str| tree::root().join("workshop/vectors/corpus").join(kept);
    let bare = TARGETS.iter().filter(|(_, kept)| is_empty(&corpus(kept)));
    missing.extend(bare.map(|(target, kept)| format!("`{target}` has nothing in `{kept}`")));
    if missing.is_empty() { Ok(()) } else { Err(Fault::list("fuzz targets that are not complete", &missing)) }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_target_has_its_row_and_its_corpus() {
        assert_eq!(super::complete().map_err(|fault| fault.to_string()), Ok(()));
    }
}

//! The authority that certifies workloads, from the command line.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use portcullis_e2e::Gateway;
use serde_json::{Value, json};

const SECRET: &str = "canary-seal-0123456789012345678901234567890";

/// A gateway whose configuration names an authority.
fn with_authority() -> Gateway {
    let builder = Gateway::builder().set("/ca", json!({ "seal": { "file": "seal.key" } }));
    let builder = builder.file("seal.key", SECRET);
    let path = builder.kit().path().join("seal.key");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    builder.start()
}

fn root_key(gateway: &Gateway) -> String {
    gateway.path().join("root.key").display().to_string()
}

#[test]
fn ss028_11_2_10_an_authority_begins_rotates_and_says_what_has_to_be_done() {
    let gateway = with_authority();
    let (status, told) = gateway.portcullis(&["ca", "status"]);
    assert!(!status.success() && told.contains("make one with `portcullis ca init`"), "{told}");
    let root_key = root_key(&gateway);
    let (status, told) = gateway.portcullis(&["ca", "init", "--root-key", &root_key]);
    assert!(status.success() && told.contains("trust domain `test.example` has begun"), "{told}");
    assert!(told.contains(&format!("the root's key is still at `{root_key}`")), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 160), "{told}");
    let (status, told) = gateway.portcullis(&["ca", "init", "--root-key", &root_key]);
    assert!(!status.success() && told.contains("already"), "{told}");
    let (status, told) = gateway.portcullis(&["ca", "rehearse", "--root-key", &root_key]);
    assert!(status.success() && told.contains("nothing was changed"), "{told}");
    let (status, told) = gateway.portcullis(&["ca", "rotate", "--root-key", &root_key]);
    assert!(status.success() && told.contains("signs now, until"), "{told}");
    std::fs::remove_file(&root_key).expect("carried away");
    let (status, told) = gateway.portcullis(&["ca", "status"]);
    assert!(status.success() && !told.contains("carry it away"), "{told}");
    for words in ["root       active", "workloads  active", "workloads  retiring"] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    let (status, told) = gateway.portcullis(&["ca", "rotate", "--root-key", &root_key]);
    assert!(!status.success() && told.contains("there is no file"), "{told}");
    let (status, told) = gateway.portcullis(&["ca", "bundle"]);
    let bundle: Value = serde_json::from_str(&told).expect("JSON");
    assert!(status.success() && bundle["keys"].as_array().is_some_and(|keys| keys.len() == 1), "{told}");
}

#[test]
fn ss028_11_2_10c_nobody_else_can_read_what_an_authority_keeps() {
    let gateway = with_authority();
    let root_key = root_key(&gateway);
    let (status, told) = gateway.portcullis(&["ca", "init", "--root-key", &root_key]);
    assert!(status.success(), "{told}");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o077;
    assert_eq!(mode(Path::new(&root_key)), 0);
    let folder = gateway.path().join("state/keyholder");
    assert_eq!(mode(&folder), 0);
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0, "{path:?}");
        let bytes = std::fs::read(&path).expect("a file");
        assert!(!String::from_utf8_lossy(&bytes).contains("PRIVATE KEY"), "{path:?}");
    }
}

#[test]
fn f7_another_secret_of_the_authority_is_no_reload_and_is_not_ignored() {
    let gateway = with_authority();
    let path = gateway.path().join("changed.key");
    std::fs::write(&path, SECRET.to_uppercase()).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    gateway.rewrite(|config| config["ca"]["seal"]["file"] = json!("changed.key"));
    let (status, told) = gateway.admin().reload();
    assert!(status >= 400 && told.contains("ca: was changed and cannot be reloaded"), "{status} {told}");
}

/// The secret that opens the authority's keys stays with *control*: the edge, which strangers talk to, never has it.
#[test]
fn f3_the_edge_never_has_what_opens_the_keys_of_the_authority() {
    let gateway = with_authority();
    assert!(remembers(gateway.role("control"), SECRET), "the test looks in the right place");
    assert!(!remembers(gateway.role("edge"), SECRET));
}

/// Whether a process of ours has a text in memory that it can write to.
fn remembers(id: u32, text: &str) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).expect("our own process");
    let memory = File::open(format!("/proc/{id}/mem")).expect("our own process");
    let parse = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let ranges = maps.lines().filter(|line| line.contains(" rw")).filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((parse(from)?, parse(to)?))
    });
    ranges.into_iter().any(|range| is_in(&memory, range, text.as_bytes()))
}

/// Reads a range piece by piece: an allocator may have reserved a gigabyte.
fn is_in(memory: &File, (from, to): (u64, u64), text: &[u8]) -> bool {
    const PAGE: usize = 4_096;
    let mut piece = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        // A page that cannot be read is passed over.
        let count = memory.read_at(&mut piece, at).unwrap_or_default();
        if memchr::memmem::find(&piece[..count], text).is_some() {
            return true;
        }
        // Once more where a piece ends: the text may lie across.
        let step = if count > text.len() { count - text.len() } else { PAGE };
        at += u64::try_from(step).expect("a size");
    }
    false
}

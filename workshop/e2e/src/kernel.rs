//! What the kernel knows about a process: its memory, and the time of each of its threads.
//!
//! Sources: proc(5), `/proc/PID/status` and `/proc/PID/task/TID/schedstat`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Memory that a process has resident, in KiB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn resident_kib(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("a process that runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// The time that each thread of a process has been on a core, by the thread's name.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn thread_times(process: u32) -> BTreeMap<String, Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process that runs");
    let read = |folder: PathBuf| {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let spent = fs::read_to_string(folder.join("schedstat")).ok()?;
        let nanos = spent.split_whitespace().next()?.parse().ok()?;
        Some((name.trim().to_owned(), Duration::from_nanos(nanos)))
    };
    threads.flatten().filter_map(|thread| read(thread.path())).collect()
}

//! What the kernel knows about a process and its children: time on a core, and memory.
//!
//! Sources: proc(5), `/proc/PID/task/TID/schedstat` (nanoseconds on a core) and `/proc/PID/smaps_rollup` (PSS).

use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps the calling thread, and those that it starts later, on one core.
pub(crate) fn stay_on_core(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // A machine with one core cannot pin to the second: the figures then share it, and the report shows the load.
    let _ = sched_setaffinity(None, &set);
}

/// Time that all threads of the process and its children have been on a core.
pub(crate) fn cpu_time(id: u32) -> Duration {
    family(id).into_iter().map(own_cpu_time).sum()
}

/// Proportional share of memory of the process and its children, in KiB.
pub(crate) fn pss_kib(id: u32) -> u64 {
    let own = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
    };
    family(id).into_iter().map(own).sum()
}

fn own_cpu_time(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// The process and all below it, breadth first.
fn family(id: u32) -> Vec<u32> {
    let mut found = vec![id];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_time_and_memory() {
        let id = std::process::id();
        let mut sum = 0_u64;
        (0..2_000_000_u64).for_each(|n| sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n)));
        assert!(cpu_time(id) > Duration::ZERO, "{sum}");
        assert!(pss_kib(id) > 100);
    }
}

//! What the kernel knows about a process and its children: time on a core, and memory.
//!
//! Sources: proc(5), `/proc/PID/task/TID/schedstat` (nanoseconds on a core), `/proc/PID/smaps_rollup` (PSS) and
//! `/proc/stat` (what a core did).

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Keeps the calling thread, and those that it starts later, on one core.
pub(crate) fn stay_on_core(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // A machine with one core cannot pin to the second: the figures then share it, and the report shows the load.
    let _ = sched_setaffinity(None, &set);
}

/// As many open files as the kernel lets this process and its children have; gives the number.
pub(crate) fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is not allowed, what there is has to do.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Time that all threads of the process and its children have been on a core.
pub(crate) fn cpu_time(id: u32) -> Duration {
    family(id).into_iter().map(own_cpu_time).sum()
}

/// Time that this process has been on a core, threads that have ended included.
pub(crate) fn own_clock() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Proportional share of memory of the process and its children, in KiB.
pub(crate) fn pss_kib(id: u32) -> u64 {
    family(id).into_iter().map(own_pss_kib).sum()
}

/// Of this process alone.
pub(crate) fn own_pss_kib(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
}

/// Of this process alone.
pub(crate) fn own_cpu_time(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

/// The process below `id` whose program has this name.
pub(crate) fn below(id: u32, program: &str) -> Option<u32> {
    family(id).into_iter().find(|id| {
        let path = fs::read_link(format!("/proc/{id}/exe")).unwrap_or_default();
        path.file_name().is_some_and(|name| name == program)
    })
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

/// What a core has done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CoreTime {
    idle: u32,
    all: u32,
}

impl CoreTime {
    pub(crate) fn read(core: usize) -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), core).unwrap_or_default()
    }

    fn parse(text: &str, core: usize) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
        // user nice system idle iowait irq softirq steal; what guests had is in user already.
        let ticks: Vec<u32> = line.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
        let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
        Some(Self { idle, all: ticks.iter().fold(0, |sum, n| sum.saturating_add(*n)) })
    }

    /// Share of the time since `before` in which it was not idle.
    pub(crate) fn busy_since(self, before: Self) -> f64 {
        let all = f64::from(self.all.saturating_sub(before.all));
        let idle = f64::from(self.idle.saturating_sub(before.idle));
        if all > 0.0 { 1.0 - idle / all } else { 0.0 }
    }
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

    #[test]
    fn a_core_is_busy_for_what_is_neither_idle_nor_waiting() {
        let at = |text| CoreTime::parse(text, 0).unwrap();
        let before = at("cpu  9 9 9 9\ncpu0 10 0 10 70 10 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0");
        let after = at("cpu0 30 0 20 130 20 0 0 0 7 0\n");
        assert!((after.busy_since(before) - 0.3).abs() < 1e-9, "{}", after.busy_since(before));
        assert!(CoreTime::parse("cpu1 1 1 1 1 1", 0).is_none());
    }
}

//! The allocator of every program of ours, and how a process gives memory back.
//!
//! Compiling a generation takes several times the memory that the result keeps, and a process that is idle afterwards
//! would hold on to it: the allocator returns pages as it goes, and it does not go.
//!
//! INVARIANT: the only crate with `unsafe`, and only to call a function of the allocator that touches no pointer of ours.
//!
//! Not here: when to give back (whoever has put a generation in force).

/// What `#[global_allocator]` is set to.
pub type Allocator = mimalloc::MiMalloc;

/// Its only value.
pub const ALLOCATOR: Allocator = mimalloc::MiMalloc;

/// Returns what this thread has freed, and every page that is free by now, to the system. Takes milliseconds: never call it
/// on a core that serves.
pub fn give_back() {
    // SAFETY: takes a flag, works on this thread's heap and on the allocator's own shared state, and may be called at
    // any time by any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: super::Allocator = super::ALLOCATOR;

    fn resident_kib() -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("the kernel's account");
        let line = text.lines().find(|line| line.starts_with("Rss:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    #[test]
    fn what_was_freed_goes_back_and_what_is_held_stays() {
        let mut blocks: Vec<Box<[u8; 512]>> = (0..100_000).map(|_| Box::new([7; 512])).collect();
        let full = resident_kib();
        let kept = blocks.split_off(99_000);
        drop(blocks);
        super::give_back();
        let left = resident_kib();
        assert!(left + 40_000 < full, "{left} KiB are left of {full}");
        assert!(kept.iter().all(|block| block[511] == 7));
    }
}

//! Random numbers for ids and choices, drawn in blocks so that a request costs no system call.
//!
//! INVARIANT: no number is handed out twice, and none that was handed out stays in memory.
//!
//! Not here: keys and nonces, which their own rooms draw.

use aws_lc_rs::rand;

/// How many numbers are drawn at once.
const BLOCK: usize = 256;

/// One core's numbers.
#[derive(Debug, Default)]
pub(crate) struct Random {
    left: Vec<u64>,
    fallback: u64,
}

impl Random {
    /// The next number.
    pub(crate) fn draw(&mut self) -> u64 {
        if self.left.is_empty() {
            self.refill();
        }
        self.left.pop().unwrap_or_else(|| {
            // Ids must differ even where the system has no randomness; nothing secret is made of them.
            self.fallback = self.fallback.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.fallback
        })
    }

    fn refill(&mut self) {
        let mut bytes = [0_u8; BLOCK * 8];
        if rand::fill(&mut bytes).is_ok() {
            let (numbers, _) = bytes.as_chunks::<8>();
            self.left.extend(numbers.iter().map(|n| u64::from_ne_bytes(*n)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_over_more_than_one_block() {
        let mut random = Random::default();
        let drawn: std::collections::HashSet<_> = (0..3 * BLOCK).map(|_| random.draw()).collect();
        assert_eq!(drawn.len(), 3 * BLOCK);
    }
}

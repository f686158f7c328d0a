//! Decisions that need not be taken twice.
//!
//! One cache per core. An answer is remembered under the exact values that it can depend on (`key`), within one
//! book and one authorisation generation; a door that reads the time is never remembered, nor is a question whose
//! caller's credential has ended. So a remembered answer is the answer that the book would give now: it cannot
//! outlive a credential, a revocation or a change of rules (threat C7).
//!
//! INVARIANT: cached equals uncached, for every order of questions, books and generations.
//! INVARIANT: bounded: at most `capacity` answers with keys of at most [`LONGEST_KEY`] bytes; memory is taken as
//! answers come. A caller that fills the cache pushes out what was not asked for lately (clock, second chance).
//! INVARIANT: a warm answer allocates nothing.
//!
//! Sources: DESIGN §4 (decision cache); threats C7, E13.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use portcullis_core::Generation;

use crate::book::{Door, Slice};
use crate::key::write_key;
use crate::{Answer, Book, Question, Rules, SliceId};

/// A question with a longer key is answered from the rules each time.
const LONGEST_KEY: usize = 4_096;

/// A bounded cache of answers, for one core.
#[derive(Debug)]
pub struct DecisionCache {
    capacity: usize,
    /// The generation and the book that all entries belong to.
    of: Option<(Generation, u64)>,
    seed: RandomState,
    places: HashMap<u64, usize, BuildHasherDefault<AlreadyHashed>>,
    entries: Vec<Entry>,
    hand: usize,
    scratch: Vec<u8>,
    counts: CacheCounts,
}

/// How often the cache helped, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Answered from memory.
    pub hits: u64,
    /// Answered from the rules, and remembered.
    pub misses: u64,
    /// Answered from the rules, since the question must not be remembered.
    pub passed: u64,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    answer: Answer,
    used: bool,
}

impl DecisionCache {
    /// A cache that holds at most `capacity` answers (a few hundred bytes each); none means no caching.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            of: None,
            seed: RandomState::new(),
            places: HashMap::default(),
            entries: vec![],
            hand: 0,
            scratch: vec![],
            counts: CacheCounts::default(),
        }
    }

    /// Answers as [`Book::decide`] does, from memory where that is sound. Another book or generation than in the
    /// last call empties the cache.
    pub fn decide(
        &mut self,
        book: &Book,
        generation: Generation,
        slice: SliceId,
        question: &Question<'_>,
    ) -> Answer {
        self.belong_to(generation, book);
        match book.find(slice, question) {
            Ok(Some((found, door))) => self.remember(book, (slice, found, door), question),
            Ok(None) => Answer::Deny { rules: Rules::default() },
            Err(fault) => Answer::broken(fault),
        }
    }

    /// How often the cache helped.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// How many answers are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    fn belong_to(&mut self, generation: Generation, book: &Book) {
        let of = Some((generation, book.stamp));
        if self.of != of {
            self.places.clear();
            self.entries.clear();
            self.hand = 0;
            self.of = of;
        }
    }

    fn remember(
        &mut self,
        book: &Book,
        (id, slice, door): (SliceId, &Slice, &Door),
        question: &Question<'_>,
    ) -> Answer {
        if !door.cacheable || has_ended(question) || self.capacity == 0 {
            self.counts.passed += 1;
            return book.evaluate(slice, door, question);
        }
        if let Err(fault) = write_key(&mut self.scratch, id, door, question) {
            return Answer::broken(fault);
        }
        let hash = self.seed.hash_one(&self.scratch);
        if let Some(answer) = self.recall(hash) {
            self.counts.hits += 1;
            return answer;
        }
        let answer = book.evaluate(slice, door, question);
        if self.scratch.len() > LONGEST_KEY {
            self.counts.passed += 1;
            return answer;
        }
        self.counts.misses += 1;
        self.keep(hash, answer.clone());
        answer
    }

    fn recall(&mut self, hash: u64) -> Option<Answer> {
        let entry = self.entries.get_mut(*self.places.get(&hash)?)?;
        // SECURITY: a hash is only a hint where to look; the values themselves decide.
        if *entry.key != *self.scratch {
            return None;
        }
        entry.used = true;
        Some(entry.answer.clone())
    }

    fn keep(&mut self, hash: u64, answer: Answer) {
        let entry = Entry { hash, key: self.scratch.as_slice().into(), answer, used: false };
        let place = match self.places.get(&hash) {
            Some(taken) => *taken,
            None if self.entries.len() < self.capacity => self.entries.len(),
            None => self.evict(),
        };
        if let Some(old) = self.entries.get_mut(place) {
            self.places.remove(&old.hash);
            *old = entry;
        } else {
            self.entries.push(entry);
        }
        self.places.insert(hash, place);
    }

    /// The place of the first entry from the hand on that was not asked for since the hand passed.
    fn evict(&mut self) -> usize {
        for _ in 0..self.entries.len() {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            match self.entries.get_mut(place) {
                Some(entry) if entry.used => entry.used = false,
                _ => return place,
            }
        }
        self.hand
    }
}

/// Whether the caller's credential has ended. Whoever verified it may grant leeway; the cache grants none.
fn has_ended(question: &Question<'_>) -> bool {
    question.principal.expires.is_some_and(|end| end <= question.now)
}

/// The keys of `places` are hashes already, under a random seed.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

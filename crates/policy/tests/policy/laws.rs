//! Laws that hold for every book and every question.

use portcullis_core::Generation;
use portcullis_policy::{Answer, Attached, Book, BookSource, DecisionCache};
use proptest::prelude::*;

use crate::oracle;
use crate::world::{Asked, add_if_sensible, odd_questions, policy, questions, rule_texts_with, sources};

fn files(answer: &Answer) -> Vec<String> {
    answer.rules().iter().map(|rule| rule.at().file.to_string()).collect()
}

/// What may happen between two questions.
#[derive(Clone, Debug)]
enum Step {
    Ask(Box<Asked>),
    /// Another generation of the same rules: a key was rotated, somebody was revoked.
    NextGeneration,
    /// The other rule book comes into force.
    SwapBook,
    /// The last caller asks again with one right less.
    Revoke,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => odd_questions().prop_map(|asked| Step::Ask(Box::new(asked))),
        1 => Just(Step::NextGeneration),
        1 => Just(Step::SwapBook),
        2 => Just(Step::Revoke),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Slicing, layering and minimal facts change no answer.
    #[test]
    fn f6_a_slice_answers_as_the_whole_book(
        source in sources(),
        asked in proptest::collection::vec(questions(), 6),
    ) {
        let source = BookSource { scope_rules: vec![], ..source };
        let book = Book::compile(&source).expect("a book");
        for asked in &asked {
            let answer = asked.of(&book);
            let want = oracle::decide(&source, asked);
            prop_assert_eq!(answer.word(), want.word, "{:?}", asked);
            prop_assert_eq!(files(&answer), want.files, "{:?}", asked);
        }
    }

    /// A remembered answer is the answer that would be given now, whatever happened in between.
    #[test]
    fn c7_cached_equals_uncached(
        first in sources(),
        second in sources(),
        capacity in 0..6_usize,
        steps in steps(),
    ) {
        let mut books = [Book::compile(&first).expect("a book"), Book::compile(&second).expect("a book")];
        let mut cache = DecisionCache::new(capacity);
        let mut generation = Generation(1);
        let mut last: Option<Box<Asked>> = None;
        for step in steps {
            match step {
                Step::Ask(asked) => last = Some(asked),
                Step::NextGeneration => generation = generation.next(),
                Step::SwapBook => books.swap(0, 1),
                Step::Revoke => if let Some(asked) = &mut last {
                    asked.principal.scopes.pop_first();
                    asked.principal.roles.pop_first();
                },
            }
            let Some(asked) = &last else { continue };
            let slice = asked.slice(&books[0]);
            let cached = cache.decide(&books[0], generation, slice, &asked.question());
            prop_assert_eq!(cached, asked.of(&books[0]), "{:?}", asked);
            prop_assert!(cache.held() <= capacity);
        }
    }

    /// Adding a `forbid` can only take rights away, whatever the book says.
    #[test]
    fn f6_a_forbid_never_opens_a_door(
        source in sources(),
        extra in rule_texts_with(Just("forbid")),
        asked in proptest::collection::vec(odd_questions(), 6),
    ) {
        let mut more = source.clone();
        add_if_sensible(&mut more, policy(99, &extra, vec![Attached::Everything]));
        let (before, after) = (Book::compile(&source).expect("a book"), Book::compile(&more).expect("a book"));
        for asked in &asked {
            let (before, after) = (asked.of(&before).is_allow(), asked.of(&after).is_allow());
            prop_assert!(before || !after, "{:?} was refused and is now allowed by {}", asked, extra);
        }
    }

    /// An explanation gives the answer that was given, and its rules add up to it.
    #[test]
    fn an_explanation_adds_up(source in sources(), asked in odd_questions()) {
        use portcullis_policy::{Effect, Outcome};
        let book = Book::compile(&source).expect("a book");
        let answer = asked.of(&book);
        let explained = book.explain(asked.slice(&book), &asked.question());
        prop_assert_eq!(&explained.answer, answer.word());
        let some = |effect, wanted: fn(&Outcome) -> bool| {
            explained.rules.iter().any(|rule| rule.effect == effect && wanted(&rule.outcome))
        };
        let failed = |o: &Outcome| matches!(o, Outcome::Errored(_));
        let satisfied = |o: &Outcome| *o == Outcome::Satisfied;
        let want = if some(Effect::Permit, failed) || some(Effect::Forbid, failed) {
            "broken"
        } else if some(Effect::Permit, satisfied) && !some(Effect::Forbid, satisfied) {
            "allow"
        } else {
            "deny"
        };
        prop_assert_eq!(answer.word(), want);
        prop_assert!(explained.to_string().lines().all(|line| line.chars().count() <= 100));
    }
}

//! Laws that hold for every book and every question.

use portcullis_core::{Binding, Generation};
use portcullis_policy::{Answer, Attached, Book, BookSource, DecisionCache, Method};
use proptest::prelude::*;
use proptest::sample::select;

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
    /// The last question is asked again, with one thing changed.
    Change(Changed),
}

#[derive(Clone, Copy, Debug)]
enum Changed {
    /// A right was revoked.
    Rights,
    Method,
    Source,
    Time,
    Path,
    Subject,
    Claims,
    Client,
    Binding,
    Nothing,
}

const CHANGES: [Changed; 10] = {
    use Changed::{Binding, Claims, Client, Method, Nothing, Path, Rights, Source, Subject, Time};
    [Rights, Method, Source, Time, Path, Subject, Claims, Client, Binding, Nothing]
};

fn change(asked: &mut Asked, what: Changed) {
    let caller = &mut asked.principal;
    match what {
        Changed::Rights => {
            caller.scopes.pop_first();
            caller.roles.pop_first();
        }
        Changed::Method if asked.method == Method::Get => asked.method = Method::Post,
        Changed::Method => asked.method = Method::Get,
        Changed::Source if asked.source.is_ipv6() => asked.source = [192, 0, 2, 7].into(),
        Changed::Source => asked.source = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        Changed::Time => asked.now.0 ^= 1,
        Changed::Path => {
            asked.path.iter_mut().for_each(|(_, v)| *v = if *v == "c-1" { "c-2" } else { "c-1" });
        }
        Changed::Subject if &*caller.subject == "bob" => caller.subject = "alice".into(),
        Changed::Subject => caller.subject = "bob".into(),
        Changed::Claims => _ = caller.claims.pop_last(),
        Changed::Client => caller.client = caller.client.is_none().then(|| "web-1".into()),
        Changed::Binding if caller.binding == Binding::Bearer => caller.binding = Binding::MutualTls,
        Changed::Binding => caller.binding = Binding::Bearer,
        Changed::Nothing => {}
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => odd_questions().prop_map(|asked| Step::Ask(Box::new(asked))),
        1 => Just(Step::NextGeneration),
        1 => Just(Step::SwapBook),
        16 => select(&CHANGES[..]).prop_map(Step::Change),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

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
        capacity in prop_oneof![0..6_usize, Just(1_000)],
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
                Step::Change(what) => if let Some(asked) = &mut last { change(asked, what) },
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

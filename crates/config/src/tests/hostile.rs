//! Texts that were written to do harm, and texts that were never meant to be YAML.

use proptest::prelude::*;

use super::*;
use crate::load;

fn refused(text: &str) -> String {
    load("portcullis.yaml", &with_root(text)).expect_err("must not load").to_string()
}

#[test]
fn e9_a_yaml_bomb_is_refused_where_it_starts() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        bomb.push_str(&format!("{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"));
    }
    let told = refused(&bomb);
    assert!(told.contains("portcullis.yaml:1:7: a: has an anchor"), "{told}");
    assert!(told.contains("is an alias\n    write the value out where it is used"), "{told}");
}

#[test]
fn e9_depth_and_size_are_bounded() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = format!("plans: {}{}", open.repeat(10_000), close.repeat(10_000));
        let told = refused(&deep);
        assert!(told.len() < 2_000, "{told}");
    }
    let block: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(refused(&block).len() < 2_000);
    let wide = "- x\n".repeat(crate::yaml::tree::MOST_NODES + 2);
    assert!(refused(&wide).contains("is beyond the 1000000 values"));
}

#[test]
fn what_could_mean_two_things_is_refused() {
    let table = [
        ("environment: production", "environment: !secret production", "has a tag"),
        ("environment: production", "<<: { a: b }\nenvironment: production", "is a merge key"),
        (
            "environment: production",
            "environment: test\nenvironment: production",
            "is written twice, first at line 2",
        ),
        ("environment: production", "? [a, b]\n: c\nenvironment: production", "is a key that is not text"),
        (
            "environment: production",
            "environment: production\n---\nenvironment: test",
            "starts a second document",
        ),
        ("environment: production", "%YAML 1.1\n---\nenvironment: production", "is not YAML"),
        ("owner: payments-team", "owner: 123", "expected a text: put it in quotes"),
        ("owner: payments-team", "owner: true", "expected a text: put it in quotes"),
        ("uids: [1001]", "uids: [\"1001\"]", "expected a whole number"),
        ("uids: [1001]", "uids: [0o17]", "expected a whole number"),
    ];
    for (from, to, want) in table {
        let told = told(from, to);
        assert!(told.contains(want), "{to}: {told}");
    }
}

#[test]
fn c13_a_secret_in_the_file_is_refused_and_not_repeated() {
    let pem =
        "key: |\n        -----BEGIN PRIVATE KEY-----\n        Y2FuYXJ5\n        -----END PRIVATE KEY-----";
    let table = [
        ("key: { file: tls/edge.key }", pem),
        ("key: { file: tls/edge.key }", "key: Y2FuYXJ5"),
        ("key: { file: tls/edge.key }", "key: { env: Y2FuYXJ5 }"),
        ("key: { file: tls/edge.key }", "key: { value: Y2FuYXJ5 }"),
        ("key: { file: tls/edge.key }", "key: [Y2FuYXJ5]"),
        ("key: { file: tls/edge.key }", "key: { file: tls/edge.key, passphrase: Y2FuYXJ5 }"),
        ("environment: production", "environment: production\npassword: Y2FuYXJ5"),
        ("key: { file: tls/edge.key }", "key: { file: tls/edge.pem }"),
        ("file: tls/edge.pem", "file: tls/both.pem"),
        ("owner: payments-team", "owner: \"-----BEGIN PRIVATE KEY-----\\nY2FuYXJ5\""),
    ];
    for (from, to) in table {
        let told = told(from, to);
        assert!(!told.is_empty() && !told.contains(CANARY), "{to}: {told}");
    }
    assert!(told("key: { file: tls/edge.key }", "key: { env: TLS_KEY }").contains("from the environment"));
}

#[test]
fn e10_a_root_file_beyond_its_limit_is_refused() {
    assert!(refused(&" ".repeat(16 * 1024 * 1024 + 1)).contains("is larger than 16MiB"));
    assert!(load("portcullis.yaml", &with_root(SHOP).with("portcullis.yaml", [0xff, 0xfe])).is_err());
    assert!(load("nowhere.yaml", &with_root(SHOP)).is_err_and(|p| p.to_string().contains("does not exist")));
}

#[test]
fn f8_control_and_direction_marks_do_not_reach_the_terminal() {
    let told = told("environment: production", "\"a\\u202eb\\u001b[2J\": 1\nenvironment: \"x\\u001b[31m\"");
    assert!(!told.is_empty() && !told.contains(['\u{1b}', '\u{202e}']), "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_loading_panic(text in "\\PC{0,200}") {
        let _ = load("portcullis.yaml", &with_root(&text));
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_loading_panic(text in "[a-z:{}\\[\\], \n\"'&*!|>#?-]{0,200}") {
        let _ = load("portcullis.yaml", &with_root(&text));
    }

    /// A line that was damaged gives a plan or problems that show no secret, never a panic.
    #[test]
    fn c13_no_damage_to_the_example_panics_or_shows_a_secret(at in 0..SHOP.len(), cut in 0usize..40, put in "[a-z:{}\\[\\], \n\"*-]{0,4}") {
        let kept = |(i, c): (usize, char)| (!(at..at + cut).contains(&i)).then_some(c);
        let before: String = SHOP.chars().take(at).collect();
        let after: String = SHOP.char_indices().skip_while(|(i, _)| *i < at).filter_map(kept).collect();
        let text = format!("{before}{put}{after}");
        if let Err(problems) = load("portcullis.yaml", &with_root(&text)) {
            prop_assert!(!problems.is_empty() && !problems.to_string().contains(CANARY));
        }
    }
}

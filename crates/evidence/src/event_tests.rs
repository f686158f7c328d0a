//! One event of each kind as it is written, and what hostile text can do to it: nothing.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::{Generation, Name, Proof, Reason, RequestId, UnixMillis};
use proptest::prelude::*;

use crate::event::*;
use crate::request::*;
use crate::syslog::Sender;
use crate::{AllowList, Record, SafeText, Source, SourceForm, cef, ocsf, syslog};

/// Whatever can break a line, a string or a reader's eye.
const HOSTILE: &[&str] = &[
    "x\n{\"event\":\"ended\"}",
    "x\r\nINFO forged",
    "\u{0}\u{1}\u{8}\u{1b}[2J\u{7f}",
    "\u{85}\u{2028}\u{2029}",
    "\u{202e}gnp.exe\u{202c}\u{2066}\u{2069}\u{200f}\u{61c}",
    "\u{200b}\u{200d}\u{feff}\u{ad}\u{e0041}",
    "\",\"outcome\":\"served\",\"x\":\"",
    "\\\",\\\\u000a",
    "|1|2|\\| act=forged cs1=x",
    "\"] [forged@1 x=\"",
    "<0>1 - - - - - -",
    "\u{fffd}\u{d7ff}\u{10ffff}\u{e000}",
];

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn source() -> Source {
    Source::of(IpAddr::from([203, 0, 113, 7]), SourceForm::Full)
}

/// Hands one event of each kind to `see`, with `text` wherever a stranger's text may stand.
pub(crate) fn each(text: &str, see: &mut dyn FnMut(&Event<'_>)) {
    let (service, issuer, listener) = (name("orders"), name("staff"), name("public"));
    let rules: Vec<Arc<str>> = vec!["orders.read".into(), text.into()];
    let list = AllowList::new(["id", text]);
    let params: Vec<_> = [list.permit("id", text), list.permit(text, "7")].into_iter().flatten().collect();
    let findings = [Finding { class: "unknown-parameter", at: SafeText::name(text), mode: Mode::Report }];
    let safe = SafeText::new(text);
    let tls = Some(Tls { version: TlsVersion::V13, client: Some([0xab; 32]) });
    let decided = Decided {
        request: Request {
            source: source(),
            via: None,
            protocol: Protocol::Http2,
            tls,
            method: SafeText::name(if text == "plain" { "GET" } else { text }),
            service: Some(&service),
            route: Some("/orders/{id}"),
            params: &params,
            trace: Some(Trace { trace: [0x4b; 16], span: [0x0f; 8] }),
        },
        caller: Some(Caller {
            proof: Proof::Token,
            issuer: &issuer,
            subject: safe,
            client: Some(safe),
            credential: Some(safe),
            session: None,
        }),
        rules: &rules,
        generations: Generations { authorisation: Generation(12), ..Generations::default() },
        limit: Some(Limited::Within),
        findings: &findings,
    };
    see(&Event::Decided(decided));
    let upstream = Some(Upstream { endpoint: safe, attempts: 1 });
    let phases = Phases { head: 12, identify: 3, authorise: 1, shape: 2, upstream: 800, total: 900 };
    let outcomes = [
        Outcome::Served { status: 200 },
        Outcome::Refused { reason: Reason::Forbidden, stage: Stage::Authorise, private: safe },
        Outcome::UpstreamUnknown,
    ];
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let (decided, close) = ((place != 1).then_some(decided), Close::Complete);
        see(&Event::Ended(Ended { decided, outcome, close, phases, bytes_in: 0, bytes_out: 1024, upstream }));
    }
    see(&Event::Connection(Connection {
        source: source(),
        via: Some(Source::of(IpAddr::from([10, 0, 9, 1]), SourceForm::Full)),
        listener: Some(&listener),
        class: ConnectionClass::GuardFault,
        fault: "content-length-twice",
        detail: safe,
        server_name: Some(safe),
        tls,
    }));
    let class = Class::Refusal(Reason::InvalidToken);
    see(&Event::Coalesced(Coalesced { class, source: Some(source()), second: 1_760_000_000, count: 4096 }));
    each_of_the_house(text, see);
}

/// The kinds that are not about traffic.
fn each_of_the_house(text: &str, see: &mut dyn FnMut(&Event<'_>)) {
    let (issuer, alert, edge) = (name("staff"), name("refusals"), name("edge"));
    let safe = SafeText::new(text);
    let change = |verdict, actor| Change {
        kind: ChangeKind::Config,
        generation: Generation(7),
        hash: [0xcd; 32],
        verdict,
        actor,
        detail: safe,
    };
    see(&Event::Change(change(Verdict::Accepted, Actor::Signal)));
    see(&Event::Change(change(Verdict::Refused { problems: 2 }, Actor::Peer(safe))));
    see(&Event::Admin(Admin {
        action: AdminAction::ReadRecords,
        actor: Actor::Uid(1000),
        permission: Permission::Allowed,
        subject: safe,
    }));
    let (state, severity) = (AlertState::Firing, Severity::Critical);
    see(&Event::Alert(Alert { name: &alert, state, severity, detail: safe }));
    for state in [
        IssuerState::Refreshed { keys: 2, generation: Generation(3) },
        IssuerState::Failed { age: 60, why: safe },
        IssuerState::Silent { age: 3600 },
    ] {
        see(&Event::Issuer(Issuer { issuer: &issuer, state }));
    }
    for previous in [Previous::None, Previous::Clean, Previous::Died { torn: 17 }] {
        see(&Event::Start(Start { version: "0.1.0", pid: 42, previous }));
    }
    see(&Event::Stop);
    see(&Event::Crash(Crash { process: &edge, pid: 42, signal: Some(11), status: None, dump: safe }));
    see(&Event::Keeping(Keeping { state: RecordState::SinkBehind, count: 9, detail: safe }));
}

pub(crate) fn line_of(event: &Event<'_>) -> String {
    let environment = name("production");
    let (id, time) = (RequestId::new(UnixMillis(1_760_000_000_123), 77), UnixMillis(1_760_000_000_123));
    let stamp = Stamp { id, time, worker: 1, sequence: 42, environment: &environment };
    let mut line = Vec::new();
    event.write_json(&stamp, &mut line);
    String::from_utf8(line).expect("UTF-8")
}

/// A line in each form that leaves the product.
fn forms(line: &str) -> Vec<String> {
    let record = Record::parse(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}: {line}"));
    let sender = Sender::new("edge-1.shop.example", 42);
    vec![line.to_owned(), cef::line(&record), ocsf::line(&record), syslog::message(&sender, &record, line)]
}

#[test]
fn f8_hostile_text_breaks_no_line_of_any_form() {
    for text in HOSTILE {
        each(text, &mut |event| {
            for form in forms(&line_of(event)) {
                let hidden = form.chars().find(|c| !crate::safe::visible(*c));
                assert_eq!(hidden, None, "{text:?} in {form:?}");
            }
        });
    }
}

/// Hostile text changes values and never the shape: the same keys in the same order, the same kind of value.
#[test]
fn f8_hostile_text_adds_no_key() {
    fn shape(value: &serde_json::Value) -> String {
        match value {
            serde_json::Value::Object(map) => {
                map.iter().map(|(k, v)| format!("{k}:{{{}}}", shape(v))).collect::<Vec<_>>().join(",")
            }
            serde_json::Value::Array(list) => format!("[{}]", list.len()),
            serde_json::Value::String(_) => "text".to_owned(),
            other => format!("{}", other.is_number()),
        }
    }
    let shapes = |text: &str| {
        let mut shapes = Vec::new();
        each(text, &mut |event| {
            let mut value: serde_json::Value = serde_json::from_str(&line_of(event)).expect("JSON");
            // The keys of listed parameters are the operator's.
            value.as_object_mut().map(|map| map.remove("params"));
            shapes.push(shape(&value));
        });
        shapes
    };
    let plain = shapes("plain");
    for text in HOSTILE {
        assert_eq!(shapes(text), plain, "{text:?}");
    }
}

#[test]
fn f8_the_formats_quote_their_own_delimiters() {
    let hostile = "|a=b\\c]\"";
    each(hostile, &mut |event| {
        let line = line_of(event);
        let [_, cef, ocsf, syslog] = &forms(&line)[..] else { panic!("four forms") };
        let header: Vec<_> =
            cef.replace("\\\\", "").replace("\\|", "").splitn(8, '|').map(str::to_owned).collect();
        assert_eq!(header.len(), 8, "{cef}");
        assert!(header[6].parse::<u8>().is_ok_and(|n| n <= 10), "{cef}");
        assert!(!cef.contains(" msg=|a=b"), "{cef}");
        assert!(serde_json::from_str::<serde_json::Value>(ocsf).is_ok(), "{ocsf}");
        assert!(syslog.starts_with("<1") && syslog.ends_with(&line), "{syslog}");
    });
}

/// A request can carry a secret in a hundred places; the event has a place for none of them, and what it has a
/// place for is bounded.
#[test]
fn c13_a_record_holds_only_what_was_put_into_it_by_name() {
    let mut keys = std::collections::BTreeSet::new();
    each("plain", &mut |event| {
        let value: serde_json::Value = serde_json::from_str(&line_of(event)).expect("JSON");
        let Some(map) = value.as_object() else { panic!("an object") };
        keys.extend(map.keys().cloned());
    });
    insta::assert_snapshot!(keys.into_iter().collect::<Vec<_>>().join(" "));
}

#[test]
fn c13_text_is_cut_and_the_cut_is_counted() {
    let long = "k".repeat(100_000);
    each(&long, &mut |event| assert!(line_of(event).len() < 8 * 1024, "{}", event.kind()));
    assert_eq!(SafeText::name(&long).to_string(), format!("{}[+{}]", "k".repeat(64), 100_000 - 64));
    let wide = "é".repeat(100);
    assert_eq!(SafeText::name(&wide).to_string(), format!("{}[+136]", "é".repeat(32)));
}

/// The longest line that hostile text can make is still one that is read back.
#[test]
fn c13_lists_are_cut_and_the_cut_is_counted() {
    let hostile = "\u{202e}".repeat(1000);
    let rules: Vec<Arc<str>> = (0..1000).map(|_| hostile.as_str().into()).collect();
    let finding = Finding { class: "unknown-parameter", at: SafeText::name(&hostile), mode: Mode::Enforce };
    let findings = vec![finding; 1000];
    each(&hostile, &mut |event| {
        let Event::Decided(decided) = event else { return };
        let line = line_of(&Event::Decided(Decided { rules: &rules, findings: &findings, ..*decided }));
        let record = Record::parse(line.as_bytes()).expect("a record");
        assert_eq!(record.number("rules_more"), Some(968));
        assert_eq!(record.number("findings_more"), Some(968));
        assert!(line.len() < 32 * 1024, "{}", line.len());
    });
}

#[test]
fn every_event_is_written_as_agreed() {
    let mut lines = String::new();
    each("plain", &mut |event| {
        lines.push_str(&line_of(event));
        lines.push('\n');
    });
    insta::assert_snapshot!(lines);
}

#[test]
fn every_format_is_written_as_agreed() {
    let mut lines = String::new();
    each("plain", &mut |event| {
        for form in &forms(&line_of(event))[1..] {
            lines.push_str(form);
            lines.push('\n');
        }
    });
    insta::assert_snapshot!(lines);
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    each("plain", &mut |event| {
        let record = Record::parse(line_of(event).as_bytes()).expect("a record");
        assert_eq!((record.event.as_str(), record.worker, record.seq), (event.kind(), 1, 42));
        if let Event::Decided(_) = event {
            assert_eq!(record.text("caller.subject"), Some("plain"));
            assert_eq!(record.number("gen.authorisation"), Some(12));
            assert_eq!(record.text("params.id"), Some("plain"));
        }
    });
    for bad in ["", "{}", "[]", "{\"event\":\"ended\"}", "nothing"] {
        assert!(Record::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(Record::parse(&vec![b' '; 70_000]).is_err());
}

proptest! {
    #[test]
    fn f8_any_text_gives_one_whole_line(text in any::<String>()) {
        let mut bad = None;
        each(&text, &mut |event| {
            let line = line_of(event);
            let whole = line.chars().all(crate::safe::visible) && Record::parse(line.as_bytes()).is_ok();
            if !whole { bad = Some(line) }
        });
        prop_assert_eq!(bad, None);
    }

    /// The spelling has one reading: two texts that fit never look the same.
    #[test]
    fn f8_two_texts_never_look_the_same(a in ".{0,20}", b in ".{0,20}") {
        prop_assert_eq!(a == b, SafeText::new(&a).to_string() == SafeText::new(&b).to_string());
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them(n in any::<u64>(), s in any::<i64>()) {
        let mut out = Vec::new();
        let mut line = crate::Object::begin(&mut out);
        line.number("n", n);
        line.signed("s", s);
        line.end();
        prop_assert_eq!(String::from_utf8(out).expect("ASCII"), format!("{{\"n\":{n},\"s\":{s}}}"));
    }
}

/// What does one record of an ordinary request cost? Printed, not judged: the machine is shared.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn the_price_of_a_line_is_printed() {
    let environment = name("production");
    let mut out = Vec::with_capacity(4096);
    let (mut spent, mut bytes) = (std::time::Duration::ZERO, 0);
    each("2f6c1a9e-77aa", &mut |event| {
        if let Event::Ended(Ended { decided: Some(_), outcome: Outcome::Served { .. }, .. }) = event {
            let begun = std::time::Instant::now();
            for sequence in 0..10_000 {
                out.clear();
                let (id, time) = (RequestId::new(UnixMillis(5), 1), UnixMillis(5));
                event.write_json(
                    &Stamp { id, time, worker: 0, sequence, environment: &environment },
                    &mut out,
                );
            }
            (spent, bytes) = (begun.elapsed(), out.len());
        }
    });
    println!("encoding a record of {bytes} bytes: {} ns", spent.as_nanos() / 10_000);
}

//! One text of metrics out of those of several processes.
//!
//! Each process writes the same families, and Prometheus wants each family's head once. So families are put together and
//! every sample gets the label `process`.
//!
//! INVARIANT: a process can only add samples of its own: a line that does not parse, or that brings a `process` label of
//! its own, is left out.
//!
//! Sources: Prometheus text exposition format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// More text of one process is not read; what is beyond is left out.
const LARGEST: usize = 16 << 20;

#[derive(Default)]
struct Family {
    help: String,
    kind: String,
    samples: String,
}

/// Merges the texts, each under the name of its process.
#[must_use]
pub fn merge(parts: &[(String, String)]) -> String {
    let mut families = BTreeMap::new();
    for (process, text) in parts {
        let text = text.get(..text.floor_char_boundary(LARGEST)).unwrap_or_default();
        add(&mut families, process, text);
    }
    let mut out = String::new();
    for (name, family) in families.iter().filter(|(_, f)| !f.samples.is_empty() && !f.kind.is_empty()) {
        // Writing to a `String` cannot fail.
        let _ =
            write!(out, "# HELP {name} {}\n# TYPE {name} {}\n{}", family.help, family.kind, family.samples);
    }
    out
}

fn add(families: &mut BTreeMap<String, Family>, process: &str, text: &str) {
    let mut current = "";
    for line in text.lines() {
        if let Some((name, help)) = head(line, "# HELP ") {
            families
                .entry(name.to_owned())
                .or_insert_with(|| Family { help: help.to_owned(), ..Family::default() });
        } else if let Some((name, kind)) = head(line, "# TYPE ") {
            let family = families.entry(name.to_owned()).or_default();
            if family.kind.is_empty() && matches!(kind, "counter" | "gauge" | "histogram") {
                kind.clone_into(&mut family.kind);
            }
            // Samples of a process that means something else by the name would be nonsense.
            current = if family.kind == kind { name } else { "" };
        } else if let Some((name, labels, value)) = sample(line)
            && belongs(name, current)
            && let Some(family) = families.get_mut(current)
        {
            let comma = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(family.samples, "{name}{{process=\"{process}\"{comma}{labels}}} {value}");
        }
    }
}

/// The name and the rest of a line of a head.
fn head<'a>(line: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(mark)?.split_once(' ').filter(|(name, _)| is_name(name))
}

fn is_name(name: &str) -> bool {
    name.starts_with("portcullis_") && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether a sample of this name is one of the family.
fn belongs(name: &str, family: &str) -> bool {
    let rest = name.strip_prefix(family).filter(|_| !family.is_empty());
    rest.is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
}

/// The name, the labels without their braces, and the value of a sample.
fn sample(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_at_checked(line.find(['{', ' '])?)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => {
            let end = labels_end(rest)?;
            (rest.get(..end)?, rest.get(end + 1..)?.strip_prefix(' ')?)
        }
        None => ("", rest.strip_prefix(' ')?),
    };
    (is_name(name) && value.parse::<f64>().is_ok()).then_some((name, labels, value))
}

/// Where the brace stands that ends the labels; `None` unless they are `a="b",c="d"` and none is `process`.
fn labels_end(text: &str) -> Option<usize> {
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let known =
            !key.is_empty() && key != "process" && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        rest = known.then(|| after.get(value_end(after)? + 1..)).flatten()?;
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return rest.starts_with('}').then(|| text.len() - rest.len()),
        }
    }
}

/// Where the quote stands that ends a value.
fn value_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use portcullis_core::{Name, Reason};
    use portcullis_telemetry::Metrics;

    use super::*;

    fn busy() -> String {
        let metrics = Metrics::default();
        let route = metrics.route(&Name::parse("orders").expect("a name"), "/orders/{id}");
        route.answered(200, Duration::from_millis(3));
        metrics.refusals().refused(Reason::Forbidden);
        metrics.clock_offset.set_micros(-1_500);
        metrics.encode()
    }

    fn both() -> String {
        let parts = [("control".to_owned(), Metrics::default().encode()), ("edge-7".to_owned(), busy())];
        merge(&parts)
    }

    #[test]
    fn families_are_put_together_and_samples_say_whose_they_are() {
        let text = both();
        for line in [
            r#"portcullis_net_connections_open{process="control"} 0"#,
            r#"portcullis_net_connections_open{process="edge-7"} 0"#,
            r#"portcullis_dataplane_requests_total{process="edge-7",service="orders",route="/orders/{id}",status="2xx"} 1"#,
            r#"portcullis_dataplane_request_duration_seconds_count{process="edge-7",service="orders",route="/orders/{id}"} 1"#,
            r#"portcullis_core_clock_offset_seconds{process="edge-7"} -0.001500"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        for (name, help) in portcullis_telemetry::names::ALL {
            let heads = text.lines().filter(|l| *l == format!("# HELP {name} {help}")).count();
            assert!(heads <= 1, "{name}");
        }
    }

    #[test]
    fn the_text_has_the_form_that_it_always_had() {
        let head = "# HELP portcullis_a_b Words.\n# TYPE portcullis_a_b gauge\n";
        let parts = [
            ("control".to_owned(), format!("{head}portcullis_a_b 1\n")),
            ("edge-7".to_owned(), format!("{head}portcullis_a_b{{kind=\"x\\\"}},y\"}} 2\n")),
        ];
        let golden = format!(
            "{head}portcullis_a_b{{process=\"control\"}} 1\nportcullis_a_b{{process=\"edge-7\",kind=\"x\\\"}},y\"}} 2\n"
        );
        assert_eq!(merge(&parts), golden);
    }

    #[test]
    fn a_process_cannot_speak_for_another_nor_break_the_text() {
        let head = "# HELP portcullis_a_b Words.\n# TYPE portcullis_a_b gauge\n";
        let hostile = [
            "portcullis_a_b{process=\"control\"} 1",
            "portcullis_a_b{kind=\"x\",process=\"control\"} 1",
            "portcullis_a_b{kind=\"x\"} 1 2",
            "portcullis_a_b{kind=\"x} 1",
            "portcullis_a_b{kind=x} 1",
            "portcullis_a_b{} 1",
            "portcullis_a_bc 1",
            "portcullis_a_b one",
            "other 1",
            "# TYPE portcullis_a_b counter\nportcullis_a_b 1",
            "# TYPE portcullis_c_d nonsense\nportcullis_c_d 1",
        ];
        for line in hostile {
            let parts = [
                ("control".to_owned(), format!("{head}portcullis_a_b 7\n")),
                ("edge-7".to_owned(), format!("{head}{line}\n")),
            ];
            assert_eq!(merge(&parts), format!("{head}portcullis_a_b{{process=\"control\"}} 7\n"), "{line}");
        }
    }

    #[test]
    fn promtool_finds_nothing_wrong() {
        use std::io::Write as _;
        let Some(program) = portcullis_testkit::counterpart("promtool") else { return };
        let mut child = Command::new(program)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        child.stdin.take().expect("a pipe").write_all(both().as_bytes()).expect("written");
        let said = child.wait_with_output().expect("ends");
        let text =
            String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success() && text.trim().is_empty(), "{text}");
    }
}

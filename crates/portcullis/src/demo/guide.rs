//! The demo's text: every case as a command to copy.
//!
//! INVARIANT: no token stands in a command: `curl -H @FILE` reads it from a file of its owner.

use std::fmt::Write as _;
use std::path::Path;

use super::cases::{CASES, Case, With};

/// No line of ours is longer.
const WIDTH: usize = 100;

/// The whole text. `port` is the gateway's.
pub(crate) fn text(folder: &Path, port: u16) -> String {
    let mut out = format!(
        "The shop is open: three services behind one gateway, in {0}\n\n  cd {0}\n  G=https://localhost:{port}\n",
        folder.display()
    );
    for case in CASES {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n{}\n  {}\n{}", case.title, command(case), because(case));
    }
    out.push_str(&afterwards());
    out
}

/// The case as a command; one that is sent several times is a loop.
pub(crate) fn command(case: &Case) -> String {
    let mut words = vec!["--cacert tls/ca.pem".to_owned()];
    if case.method != "GET" {
        words.push(format!("-X {}", case.method));
    }
    let mut extras = case.with.iter().map(option).collect::<Vec<_>>();
    words.append(&mut extras);
    words.push(target(case.path));
    let words = words.join(" ");
    match case.answers.len() {
        1 => broken(&format!("curl -i {words}"), "    "),
        times => {
            let numbers: Vec<String> = (1..=times).map(|n| n.to_string()).collect();
            let call = broken(&format!("curl -so /dev/null -w '%{{http_code}}\\n' {words}"), "      ");
            format!("for n in {}; do\n    {call}; done", numbers.join(" "))
        }
    }
}

fn option(with: &With) -> String {
    match with {
        With::Credential(name) => format!("-H @tokens/{name}"),
        With::Header(name, value) => format!("-H '{name}: {value}'"),
        With::Certificate => "--cert tls/device.pem --key tls/device.key".to_owned(),
        With::Json(body) => format!("-H 'content-type: application/json' -d '{body}'"),
    }
}

fn target(path: &str) -> String {
    if path.contains(['?', '&', '%']) { format!("\"$G{path}\"") } else { format!("$G{path}") }
}

/// Breaks a long command before one of its options; what follows is indented.
fn broken(command: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for (n, word) in command.split(" -").enumerate() {
        let word = if n == 0 { word.to_owned() } else { format!("-{word}") };
        if n > 0 && length + word.len() + 6 > WIDTH {
            out.push_str(" \\\n");
            out.push_str(indent);
            length = indent.len();
        } else if n > 0 {
            out.push(' ');
            length += 1;
        }
        length += word.len();
        out.push_str(&word);
    }
    out
}

fn because(case: &Case) -> String {
    let answers: Vec<String> = case.answers.iter().map(u16::to_string).collect();
    format!("  -> {}: {}\n", answers.join(", "), case.why)
}

fn afterwards() -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "portcullis".to_owned(), |p| p.display().to_string());
    format!(
        "\nAfterwards, in the same folder, with P={program}\n\n  \
         $P explain ID                  why; ID is the header `x-request-id` of an answer\n  \
         $P audit query --reason forbidden    what was recorded; the record is state/edge/journal\n  \
         $P audit verify                that nothing of it was changed or is missing\n  \
         $P policy test policies/orders.test.yaml\n  \
         $P check\n\nCtrl-C ends everything.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_and_shows_no_token() {
        let text = text(Path::new("/tmp/portcullis-demo-0123456789"), 44_443);
        for line in text.lines().filter(|line| !line.contains("P=")) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!text.contains("Bearer") && !text.contains("eyJ"));
    }

    #[test]
    fn a_case_is_a_command_to_copy() {
        let find = |title: &str| CASES.iter().find(|case| case.title.contains(title)).expect("a case");
        assert_eq!(
            command(find("no credentials")),
            "curl -i --cacert tls/ca.pem $G/customers/c-17/orders/1001"
        );
        let certificate = command(find("bound token with its"));
        assert!(certificate.contains("-H @tokens/till-bound --cert tls/device.pem"), "{certificate}");
        assert!(command(find("fourth refund")).starts_with("for n in 1 2 3 4; do\n"));
        assert!(command(find("hidden slash")).contains("\"$G/stock/..%2fpayments/p-1\""));
    }
}

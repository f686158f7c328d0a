//! The text that Prometheus reads.

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

#[test]
fn a_route_counts_its_answers_by_class() {
    let metrics = Metrics::default();
    let route = metrics.route(&name("orders"), "/orders/{id}");
    let flight = route.begin();
    route.answered(204, Duration::from_micros(300));
    route.answered(599, Duration::from_secs(60));
    let text = metrics.encode();
    for line in [
        r#"portcullis_dataplane_requests_total{service="orders",route="/orders/{id}",status="2xx"} 1"#,
        r#"portcullis_dataplane_requests_total{service="orders",route="/orders/{id}",status="5xx"} 1"#,
        r#"portcullis_dataplane_requests_in_flight{service="orders",route="/orders/{id}"} 1"#,
        r#"portcullis_dataplane_request_duration_seconds_bucket{service="orders",route="/orders/{id}",le="0.000250"} 0"#,
        r#"portcullis_dataplane_request_duration_seconds_bucket{service="orders",route="/orders/{id}",le="0.000500"} 1"#,
        r#"portcullis_dataplane_request_duration_seconds_bucket{service="orders",route="/orders/{id}",le="+Inf"} 2"#,
        r#"portcullis_dataplane_request_duration_seconds_sum{service="orders",route="/orders/{id}"} 60.000300"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
    drop(flight);
    assert!(metrics.encode().contains("in_flight{service=\"orders\",route=\"/orders/{id}\"} 0"));
    metrics.keep_routes(|_| false);
    assert!(!metrics.encode().contains("orders"));
}

#[test]
fn every_name_has_the_agreed_form() {
    for (name, help) in crate::names::ALL {
        assert!(
            name.starts_with("portcullis_") && name.split('_').count() >= 4 || name.ends_with("generation")
        );
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert!(help.ends_with('.') && !help.contains('\n') && !help.contains('\\'), "{name}");
    }
    let mut names: Vec<_> = crate::names::ALL.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), crate::names::ALL.len());
}

#[test]
fn the_type_says_total_only_of_what_grows() {
    let text = Metrics::default().encode();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        assert_eq!(kind == "histogram", name.ends_with("_duration_seconds"), "{line}");
    }
}

#[test]
fn f8_a_label_cannot_end_its_line() {
    let metrics = Metrics::default();
    let _ = metrics.route(&name("a"), "/x\"} 1\nforged_total 5\\");
    let text = metrics.encode();
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    assert!(text.contains(r#"route="/x\"} 1\nforged_total 5\\""#));
}

#[test]
fn seconds_may_be_negative_and_keep_the_longest() {
    let metrics = Metrics::default();
    metrics.clock_offset.set_micros(-1_500_000);
    metrics.record_loss_window.raise(Duration::from_millis(30));
    metrics.record_loss_window.raise(Duration::from_millis(20));
    let text = metrics.encode();
    assert!(text.contains("\nportcullis_core_clock_offset_seconds -1.500000\n"));
    assert!(text.contains("\nportcullis_record_loss_window_seconds 0.030000\n"));
}

#[test]
fn every_reason_is_counted_under_its_own_word() {
    let metrics = Metrics::default();
    let refusals = metrics.refusals();
    for (times, reason) in Reason::ALL.iter().enumerate() {
        (0..=times).for_each(|_| refusals.refused(*reason));
    }
    let text = metrics.encode();
    for (times, reason) in Reason::ALL.iter().enumerate() {
        let line = format!("portcullis_dataplane_refusals_total{{reason=\"{reason}\"}} {}", times + 1);
        assert!(text.lines().any(|have| have == line), "{line}");
    }
}

/// The names are an interface: dashboards and alert rules hold them. A change is made here on purpose.
#[test]
fn the_names_are_those_that_were_agreed() {
    let have: String = Metrics::default().encode().lines().filter(|l| l.starts_with("# TYPE")).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line.trim_start_matches("# TYPE "));
            all.push('\n');
            all
        },
    );
    assert_eq!(have, include_str!("names.golden"));
}

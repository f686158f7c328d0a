//! Named steps with their wall time, and the table at the end.

use std::time::{Duration, Instant};

use crate::fault::{Fault, Outcome};

/// The steps of one run, in order. All of them run, so one run shows everything that is wrong.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: String,
    took: Duration,
    fault: Option<Fault>,
}

impl Steps {
    /// Runs one step and says how it went.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Outcome<String>) {
        println!("── {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        let fault = match outcome {
            Ok(note) => {
                println!("   {name}: ok in {} {note}", seconds(took));
                None
            }
            Err(fault) => {
                println!("   {name}: FAILED after {}\n{fault}", seconds(took));
                Some(fault)
            }
        };
        self.done.push(Done { name: name.to_owned(), took, fault });
    }

    /// All that the steps took.
    pub(crate) fn total(&self) -> Duration {
        self.done.iter().map(|d| d.took).sum()
    }

    /// Has any step failed?
    pub(crate) fn failed(&self) -> Vec<&str> {
        self.done.iter().filter(|d| d.fault.is_some()).map(|d| d.name.as_str()).collect()
    }

    /// Prints the table of steps.
    pub(crate) fn table(&self) {
        println!();
        for step in &self.done {
            let verdict = if step.fault.is_some() { "FAILED" } else { "ok" };
            println!("   {:<22} {:>9}  {verdict}", step.name, seconds(step.took));
        }
        println!("   {:<22} {:>9}", "in all", seconds(self.total()));
    }

    /// The outcome of the whole run.
    pub(crate) fn verdict(&self) -> Outcome {
        match self.failed().as_slice() {
            [] => Ok(()),
            failed => Err(Fault::new(format!("failed: {}", failed.join(", ")))),
        }
    }
}

/// A duration to read, such as `3.2 s` or `4 min 05 s`.
pub(crate) fn seconds(span: Duration) -> String {
    let whole = span.as_secs();
    if whole < 100 {
        return format!("{:.1} s", span.as_secs_f64());
    }
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run_and_the_others_still_run() {
        let mut steps = Steps::default();
        steps.run("bad", || Err(Fault::new("no")));
        steps.run("good", || Ok(String::new()));
        assert_eq!(steps.failed(), ["bad"]);
        assert_eq!(steps.done.len(), 2);
        assert!(steps.verdict().is_err());
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(245)), "4 min 05 s");
    }
}

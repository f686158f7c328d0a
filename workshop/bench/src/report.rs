//! The figures, as a table for people and as one JSON object for machines: work -> system -> figures.

use serde_json::{Map, Value, json};

use crate::goal::{GOALS, Goal, Measure, words};
use crate::plan::Work;
use crate::runner::{Runner, TOO_BUSY};
use crate::stats::{Figure, median, round};
use crate::systems::OURS;

const HEAD: &str = "\nwork          system       cpu us/req  (least-most)   to envoy (rounds)      req/s   p50 ms   p99 ms  p99@85%  PSS KiB  failed  log line\n";

/// What the figures stand for.
const FOOT: &str = "\
cpu: time of all threads of all processes of a system on a core, a good answer, median of the rounds, closed loop; for
  Portcullis that is supervisor, control, edge and the journal's thread (the edge alone is in --json as edge_cpu_us).
load core: load generator and origin share core 0 (load_us in --json); busier than 90 %, with them or with others'
  work, what it limits does not count.
to envoy: the same round by round; the interval is its least and its greatest round.
p50, p99: open loop at half and at 85 % of Envoy's best rate, from the moment when a request was due.
plain: Portcullis is a bench-only program of its head guard, hyper and its upstream pool; the product has no such mode.
haproxy: Debian's, OpenSSL 3.0, no cache of verified tokens. nginx: no token verification in the free one.
";

/// All works, in the order in which they were done.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(Work, Vec<Runner>)>,
    /// Who did not take part, and why.
    pub(crate) missing: Vec<String>,
}

impl Report {
    /// Adds a work and ends its systems.
    pub(crate) fn add(&mut self, work: Work, mut runners: Vec<Runner>) {
        runners.iter_mut().for_each(|runner| runner.started.running.kill());
        self.rows.push((work, runners));
    }

    /// Says that a system could not take part, rather than leaving a gap that looks like a choice.
    pub(crate) fn missing(&mut self, work: Work, system: &str, why: &str) {
        self.missing.push(format!("{}: {system} did not take part: {why}", work.name()));
    }

    pub(crate) fn json(&self) -> String {
        let mut works: Map<String, Value> = Map::new();
        for (work, runners) in &self.rows {
            let systems: Map<String, Value> = runners
                .iter()
                .map(|runner| (runner.started.name.to_owned(), self.json_of(*work, runners, runner)))
                .collect();
            works.insert(work.name().to_owned(), Value::Object(systems));
        }
        serde_json::to_string_pretty(&works).unwrap_or_default()
    }

    fn json_of(&self, work: Work, runners: &[Runner], runner: &Runner) -> Value {
        let mut value = runner.json(work);
        if let Value::Object(fields) = &mut value {
            if let Some(ratio) = to_envoy(runners, runner) {
                let of = json!({ "middle": round(ratio.middle), "least": round(ratio.least), "most": round(ratio.most) });
                fields.insert("cpu_to_envoy".to_owned(), of);
            }
            if runner.started.name == OURS {
                fields.insert("goals".to_owned(), self.goals(work));
            }
        }
        value
    }

    fn goals(&self, work: Work) -> Value {
        let of_work = self.verdicts().into_iter().filter(|verdict| verdict.goal.work == work);
        of_work
            .map(|v| json!({ "goal": v.goal.text(), "ratio": round(v.ratio.middle), "least": round(v.ratio.least), "most": round(v.ratio.most), "verdict": v.words() }))
            .collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = HEAD.to_owned();
        for (work, runners) in &self.rows {
            runners.iter().for_each(|runner| text += &line(*work, runners, runner));
        }
        text += "\ngoal                                          ratio (rounds)       verdict\n";
        for verdict in self.verdicts() {
            let (goal, ratio, words) = (verdict.goal.text(), verdict.ratio.text(), verdict.words());
            text += &format!("{goal:<45} {ratio:<20} {words}\n");
        }
        self.missing.iter().for_each(|missing| text += &format!("{missing}\n"));
        text + "\n" + FOOT
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let of = |goal: &Goal| {
            let (_, runners) = self.rows.iter().find(|(work, _)| *work == goal.work)?;
            let find = |name| runners.iter().find(|runner: &&Runner| runner.started.name == name);
            let (ours, theirs) = (find(OURS)?, find(goal.to)?);
            let ratio = Figure::ratio(&rounds(goal.measure, ours), &rounds(goal.measure, theirs))?;
            let busy = ours.open_busy().max(theirs.open_busy()) >= TOO_BUSY;
            Some(Verdict { goal: *goal, ratio, counts: !(goal.measure.is_latency() && busy) })
        };
        GOALS.iter().filter_map(of).collect()
    }
}

/// How a goal came out.
struct Verdict {
    goal: Goal,
    ratio: Figure,
    counts: bool,
}

impl Verdict {
    fn words(&self) -> &'static str {
        if self.counts { self.goal.verdict(self.ratio.middle) } else { words(false, false) }
    }
}

fn rounds(measure: Measure, runner: &Runner) -> Vec<f64> {
    match measure {
        Measure::Cpu => runner.cpu_us.clone(),
        Measure::HalfP99 => Runner::p99(&runner.half),
        Measure::HighP99 => Runner::p99(&runner.high),
        Measure::Throughput => runner.rps.clone(),
    }
}

fn to_envoy(runners: &[Runner], runner: &Runner) -> Option<Figure> {
    let envoy = runners.iter().find(|other| other.started.name == "envoy")?;
    Figure::ratio(&runner.cpu_us, &envoy.cpu_us)
}

fn line(work: Work, runners: &[Runner], runner: &Runner) -> String {
    let cpu = Figure::of(&runner.cpu_us);
    let spread = format!("({:.1}-{:.1})", cpu.least, cpu.most);
    let ratio = to_envoy(runners, runner).map(|ratio| ratio.text()).unwrap_or_default();
    let p50: Vec<f64> = runner.half.iter().map(|found| found.at_permille(500)).collect();
    let ms =
        |values: &[f64]| if values.is_empty() { "-".to_owned() } else { format!("{:.2}", median(values)) };
    let moved = work.mib().map(|mib| format!("  {:.0} MiB/s", median(&runner.rps) * f64::from(mib)));
    let busy =
        if runner.open_busy() >= TOO_BUSY { "  load core too busy: latencies do not count" } else { "" };
    let limit = if runner.busy >= TOO_BUSY { "  load core too busy: req/s is its own" } else { "" };
    format!(
        "{:<13} {:<11} {:>11.1}  {spread:<14} {ratio:<18} {:>9.0} {:>8} {:>8} {:>8} {:>8} {:>7}  {}{}{busy}{limit}\n",
        work.name(),
        runner.started.name,
        cpu.middle,
        median(&runner.rps),
        ms(&p50),
        ms(&Runner::p99(&runner.half)),
        ms(&Runner::p99(&runner.high)),
        runner.peak_kib,
        runner.failed,
        runner.started.durability,
        moved.unwrap_or_default(),
    )
}

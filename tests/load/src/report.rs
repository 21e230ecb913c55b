//! The results of a benchmark as Markdown: targets and what was measured against them, ours beside the reference, and everything
//! else that was measured.

mod targets;

use std::fmt::Write as _;
use std::io::Write as _;

use crate::cli::ReportOptions;
use crate::failure::{Failure, read};
use crate::outcome::{Bare, Cores, Load, Memory, Operation, Outcome};
use crate::stats::{Latency, float, median};

/// What follows the label of a run against the reference.
const REFERENCE: &str = "-reference";
/// More cores than these, used by something else, make a run worthless.
const DISTURBED: f64 = 0.2;

/// `aaa-load report`.
pub(crate) fn run(options: &ReportOptions) -> Result<(), Failure> {
    let results = Results::read(&read(&options.results)?)?;
    let mut text = targets::table(&results, options.users);
    text.push_str(&results.disturbed());
    text.push_str(&results.comparison());
    text.push_str(&results.runs());
    text.push_str(&results.memory_table());
    text.push_str(&results.bare_table());
    write!(std::io::stdout(), "{text}")
        .map_err(|error| Failure::while_doing("standard output", error))
}

/// All results of a benchmark, in the order in which they came.
#[derive(Default)]
struct Results(Vec<Outcome>);

impl Results {
    /// Reads one result a line.
    fn read(lines: &[u8]) -> Result<Self, Failure> {
        let mut outcomes = Vec::new();
        for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let outcome = serde_json::from_slice(line);
            let place = format!("line {} of the results", number + 1);
            outcomes.push(outcome.map_err(|error| Failure::while_doing(place, error))?);
        }
        Ok(Self(outcomes))
    }

    fn loads(&self) -> impl Iterator<Item = &Load> {
        self.0.iter().filter_map(|outcome| match outcome {
            Outcome::Load(load) => Some(load),
            _ => None,
        })
    }

    /// All rounds of one run as one.
    fn load(&self, label: &str) -> Option<Load> {
        let rounds: Vec<&Load> = self.loads().filter(|load| load.label == label).collect();
        summary(&rounds)
    }

    /// The labels of runs, each once.
    fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for load in self.loads() {
            if !labels.contains(&load.label.as_str()) {
                labels.push(&load.label);
            }
        }
        labels
    }

    fn rate(&self, label: &str) -> Option<f64> {
        self.load(label).map(|load| load.rate)
    }

    fn p99(&self, label: &str) -> Option<f64> {
        self.load(label).map(|load| load.latency_ms.p99)
    }

    /// The median of all starts, in milliseconds.
    fn start(&self, label: &str) -> Option<f64> {
        median(self.0.iter().flat_map(|outcome| match outcome {
            Outcome::Start(start) if start.label == label => start.ready_ms.clone(),
            _ => Vec::new(),
        }))
    }

    fn memory(&self) -> impl Iterator<Item = &Memory> {
        self.0.iter().filter_map(|outcome| match outcome {
            Outcome::Memory(memory) => Some(memory),
            _ => None,
        })
    }

    /// All measurements of the cryptography alone as one.
    fn bare(&self) -> Option<Bare> {
        let found = self.0.iter().filter_map(|outcome| match outcome {
            Outcome::Bare(bare) => Some(bare),
            _ => None,
        });
        let found: Vec<&Bare> = found.collect();
        let first = *found.first()?;
        let operations = first.operations.iter().filter_map(|operation| {
            let same = || {
                found
                    .iter()
                    .filter_map(|bare| bare.operation(&operation.name))
            };
            Some(Operation {
                name: operation.name.clone(),
                one_ms: median(same().map(|one| one.one_ms))?,
                all_per_second: median(same().map(|one| one.all_per_second))?,
            })
        });
        Some(Bare {
            label: first.label.clone(),
            cores: first.cores,
            operations: operations.collect(),
        })
    }

    /// Runs during which something else used the machine: their numbers say little about the services.
    fn disturbed(&self) -> String {
        let mut text = String::new();
        for load in self.loads() {
            if let Some(others) = load.cores.others.filter(|others| *others > DISTURBED) {
                let _ = writeln!(
                    text,
                    "\n**Not to be quoted:** during a run of {} something else used {others:.2} cores.",
                    load.label
                );
            }
        }
        text
    }

    /// Ours beside the reference, where both were measured.
    fn comparison(&self) -> String {
        let mut rows = String::new();
        for label in self.labels() {
            let reference = self.load(&format!("{label}{REFERENCE}"));
            let Some((ours, reference)) = self.load(label).zip(reference) else {
                continue;
            };
            let times = ours.rate / reference.rate.max(f64::MIN_POSITIVE);
            let (p99, reference_p99) = (ours.latency_ms.p99, reference.latency_ms.p99);
            let _ = writeln!(
                rows,
                "| {} | {:.0}/s, p99 {p99:.1} ms | {:.0}/s, p99 {reference_p99:.1} ms | {times:.1} × |",
                ours.what, ours.rate, reference.rate
            );
        }
        if rows.is_empty() {
            return "\nThe reference was not measured: name its program in `AAASVC_BIN`.\n"
                .to_owned();
        }
        format!(
            "\n| in turns, the same settings | ours | the reference | rate |\n|---|---:|---:|---:|\n{rows}"
        )
    }

    /// Every run.
    fn runs(&self) -> String {
        let mut text = "\n| run | in flight | rate | p50 | p90 | p99 | p99.9 | max ms | errors | verified | cores: generator | service | others |\n\
                        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
        for load in self
            .labels()
            .into_iter()
            .filter_map(|label| self.load(label))
        {
            let Latency {
                p50,
                p90,
                p99,
                p999,
                max,
            } = load.latency_ms;
            let cores =
                |used: Option<f64>| used.map_or("–".to_owned(), |used| format!("{used:.2}"));
            let (service, others) = (cores(load.cores.service), cores(load.cores.others));
            let _ = writeln!(
                text,
                "| {} ({}) | {} | {:.0}/s | {p50:.2} | {p90:.2} | {p99:.2} | {p999:.2} | {max:.1} | {} | {} | {:.2} | {service} | {others} |",
                load.label,
                load.what,
                load.in_flight,
                load.rate,
                load.failed(),
                load.verified,
                load.cores.generator
            );
        }
        for load in self.loads() {
            for (why, times) in &load.errors {
                let _ = writeln!(text, "\n{}: {times} × {why}", load.label);
            }
        }
        text
    }

    fn memory_table(&self) -> String {
        if self.memory().next().is_none() {
            return String::new();
        }
        let mut text =
            "\n| memory | signatures | resident | at most |\n|---|---:|---:|---:|\n".to_owned();
        for sample in self.memory() {
            let (resident, peak) = (mib(sample.resident_kib), mib(sample.peak_kib));
            let _ = writeln!(
                text,
                "| {} | {} | {resident:.1} MiB | {peak:.1} MiB |",
                sample.label, sample.signatures
            );
        }
        text
    }

    fn bare_table(&self) -> String {
        let Some(bare) = self.bare() else {
            return String::new();
        };
        let mut text = format!(
            "\n| cryptography alone | one takes | {} cores together |\n|---|---:|---:|\n",
            bare.cores
        );
        for operation in &bare.operations {
            let _ = writeln!(
                text,
                "| {} | {:.4} ms | {:.1}/s |",
                operation.name, operation.one_ms, operation.all_per_second
            );
        }
        text
    }
}

/// Rounds of one run as one: medians, sums of what must not be overlooked, and the longest time of all.
fn summary(rounds: &[&Load]) -> Option<Load> {
    let first = *rounds.first()?;
    let middle = |value: fn(&Load) -> f64| median(rounds.iter().map(|load| value(load)));
    let mut errors = std::collections::BTreeMap::new();
    for (why, times) in rounds.iter().flat_map(|load| &load.errors) {
        *errors.entry(why.clone()).or_default() += times;
    }
    Some(Load {
        label: first.label.clone(),
        what: first.what.clone(),
        connections: first.connections,
        in_flight: first.in_flight,
        count: rounds.iter().map(|load| load.count).sum(),
        errors,
        seconds: rounds.iter().map(|load| load.seconds).sum(),
        rate: middle(|load| load.rate)?,
        latency_ms: Latency {
            p50: middle(|load| load.latency_ms.p50)?,
            p90: middle(|load| load.latency_ms.p90)?,
            p99: middle(|load| load.latency_ms.p99)?,
            p999: middle(|load| load.latency_ms.p999)?,
            max: rounds
                .iter()
                .map(|load| load.latency_ms.max)
                .fold(0.0, f64::max),
        },
        verified: rounds.iter().map(|load| load.verified).sum(),
        cores: Cores {
            generator: middle(|load| load.cores.generator)?,
            service: median(rounds.iter().filter_map(|load| load.cores.service)),
            others: median(rounds.iter().filter_map(|load| load.cores.others)),
        },
        used_up: rounds.iter().any(|load| load.used_up),
    })
}

fn mib(kib: u64) -> f64 {
    float(kib) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(label: &str, rate: f64, p99: f64) -> Outcome {
        Outcome::Load(Load {
            label: label.to_owned(),
            rate,
            latency_ms: Latency {
                p99,
                max: p99,
                ..Latency::default()
            },
            ..Load::default()
        })
    }

    #[test]
    fn results_survive_their_file() {
        let written: Vec<String> = [load("a", 1.0, 2.0), load("b", 3.0, 4.0)]
            .iter()
            .map(|outcome| serde_json::to_string(outcome).unwrap())
            .collect();
        let results = Results::read(format!("{}\n", written.join("\n")).as_bytes()).unwrap();
        assert_eq!(results.labels(), ["a", "b"]);
        assert_eq!(results.rate("b"), Some(3.0));
        assert_eq!(results.p99("b"), Some(4.0));
        assert_eq!(results.rate("c"), None);
        let wrong = Results::read(b"\n{}\n").err().unwrap().to_string();
        assert!(wrong.starts_with("line 2 of the results: "), "{wrong}");
    }

    #[test]
    fn rounds_become_their_median_and_the_longest_time() {
        let results = Results(vec![
            load("a", 10.0, 1.0),
            load("a", 30.0, 9.0),
            load("a", 20.0, 2.0),
        ]);
        let load = results.load("a").unwrap();
        assert!((load.rate - 20.0).abs() < f64::EPSILON);
        assert!((load.latency_ms.p99 - 2.0).abs() < f64::EPSILON);
        assert!((load.latency_ms.max - 9.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_run_that_was_disturbed_is_told() {
        let disturbed = |others| {
            let load = Load {
                label: "a".to_owned(),
                cores: Cores {
                    others,
                    ..Cores::default()
                },
                ..Load::default()
            };
            Results(vec![Outcome::Load(load)]).disturbed()
        };
        assert_eq!(disturbed(None), "");
        assert_eq!(disturbed(Some(0.1)), "");
        assert!(disturbed(Some(0.9)).contains("during a run of a something else used 0.90 cores"));
    }

    #[test]
    fn the_cryptography_is_the_median_of_its_measurements() {
        let bare = |one_ms| {
            Outcome::Bare(Bare {
                label: String::new(),
                cores: 2,
                operations: vec![Operation {
                    name: "x".to_owned(),
                    one_ms,
                    all_per_second: 1.0 / one_ms,
                }],
            })
        };
        let bare = Results(vec![bare(1.0), bare(4.0), bare(2.0)])
            .bare()
            .unwrap();
        assert!((bare.operation("x").unwrap().one_ms - 2.0).abs() < f64::EPSILON);
        assert!((bare.operation("x").unwrap().all_per_second - 0.5).abs() < f64::EPSILON);
        assert!(Results::default().bare().is_none());
    }

    #[test]
    fn ours_stands_beside_the_reference_where_both_were_measured() {
        let results = Results(vec![
            load("a", 10.0, 1.0),
            load("a-reference", 2.0, 3.0),
            load("b", 1.0, 1.0),
        ]);
        let text = results.comparison();
        assert!(
            text.contains("| 10/s, p99 1.0 ms | 2/s, p99 3.0 ms | 5.0 × |"),
            "{text}"
        );
        assert_eq!(text.matches(" × |").count(), 1);
        assert!(Results::default().comparison().contains("not measured"));
    }
}

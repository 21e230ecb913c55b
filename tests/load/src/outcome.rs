//! Results: printed for people, or as a line of JSON that the report reads.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::stats::Latency;

/// The result of one command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Load(Load),
    Start(Start),
    Memory(Memory),
    Bare(Bare),
}

/// How a service did under load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) label: String,
    /// What was asked, and the way in: `sign v2, rest`.
    pub(crate) what: String,
    pub(crate) connections: usize,
    /// Requests that were under way at the same time.
    pub(crate) in_flight: usize,
    /// Answers that were what was asked for.
    pub(crate) count: u64,
    /// Anything else, by its kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) latency_ms: Latency,
    /// How many answers were checked in full.
    pub(crate) verified: u64,
    pub(crate) cores: Cores,
    /// Whether the prepared requests were used up before the time was.
    pub(crate) used_up: bool,
}

/// Cores that were used while a service was under load.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cores {
    /// By this generator.
    pub(crate) generator: f64,
    /// By the service, if its process was named.
    pub(crate) service: Option<f64>,
    /// By anything else on the machine, if the service is known, and by the host of a virtual machine.
    pub(crate) others: Option<f64>,
}

/// How long a program took to be ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) label: String,
    /// Each time, in milliseconds.
    pub(crate) ready_ms: Vec<f64>,
    /// The process that was left running.
    pub(crate) pid: Option<u32>,
}

/// How much memory a process holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) label: String,
    /// After so many signatures.
    pub(crate) signatures: u64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

/// What the cryptography alone takes here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bare {
    pub(crate) label: String,
    pub(crate) cores: usize,
    pub(crate) operations: Vec<Operation>,
}

/// One operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) name: String,
    /// The time of one, with nothing else running.
    pub(crate) one_ms: f64,
    /// How many a second all cores together do.
    pub(crate) all_per_second: f64,
}

impl Load {
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Bare {
    /// An operation by its name.
    pub(crate) fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|found| found.name == name)
    }
}

/// Prints a result on standard output.
pub(crate) fn print(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string(outcome).map_err(|error| Failure::while_doing("result", error))?
    } else {
        outcome.to_string()
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())
        .map_err(|error| Failure::while_doing("standard output", error))
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(load) => load.fmt(f),
            Self::Start(start) => start.fmt(f),
            Self::Memory(memory) => memory.fmt(f),
            Self::Bare(bare) => bare.fmt(f),
        }
    }
}

impl Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self.latency_ms;
        writeln!(
            f,
            "{}: {:.0}/s ({} in {:.2} s), {} connections, {} in flight",
            self.what, self.rate, self.count, self.seconds, self.connections, self.in_flight
        )?;
        writeln!(
            f,
            "  latency ms: p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2}"
        )?;
        write!(f, "  cores: generator {:.2}", self.cores.generator)?;
        if let Some(cores) = self.cores.service {
            write!(f, "  service {cores:.2}")?;
        }
        if let Some(cores) = self.cores.others {
            write!(f, "  others {cores:.2}")?;
        }
        writeln!(f)?;
        writeln!(f, "  verified in full: {}", self.verified)?;
        for (why, times) in &self.errors {
            writeln!(f, "  {times} × {why}")?;
        }
        if self.used_up {
            writeln!(
                f,
                "  the prepared requests were used up before the time was"
            )?;
        }
        Ok(())
    }
}

impl Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ready after")?;
        for ms in &self.ready_ms {
            write!(f, " {ms:.1}")?;
        }
        writeln!(f, " ms")?;
        match self.pid {
            Some(pid) => writeln!(f, "running as {pid}"),
            None => Ok(()),
        }
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "after {} signatures: {} KiB resident, {} KiB at most",
            self.signatures, self.resident_kib, self.peak_kib
        )
    }
}

impl Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operation in &self.operations {
            writeln!(
                f,
                "{:16} {:10.4} ms   {:10.1}/s on {} cores",
                operation.name, operation.one_ms, operation.all_per_second, self.cores
            )?;
        }
        Ok(())
    }
}

//! What the kernel knows of a process: how long it has computed, and how much memory it holds.

use crate::cli::MemoryOptions;
use crate::failure::Failure;
use crate::outcome::{self, Memory, Outcome};
use crate::stats::float;

/// The kernel counts time of processes in hundredths of a second, on every architecture that Rust's Linux targets have.
const TICKS: f64 = 100.0;

/// `aaa-load memory`.
pub(crate) fn run(options: &MemoryOptions) -> Result<(), Failure> {
    let pid = options
        .output
        .pid
        .ok_or_else(|| Failure::new("whose memory? say --pid"))?;
    let (resident, peak) = memory(pid)?;
    let memory = Memory {
        label: options.output.label.clone(),
        signatures: options.signatures,
        resident_kib: resident,
        peak_kib: peak,
    };
    outcome::print(&Outcome::Memory(memory), options.output.json)
}

/// The seconds that a process has computed, in its own code and in the kernel for it, on all cores together.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let file = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&file).map_err(|error| gone(pid, &error))?;
    ticks(&stat)
        .map(|ticks| float(ticks) / TICKS)
        .ok_or_else(|| Failure::while_doing(file, "it has another form than known"))
}

/// Resident memory now and at most, in KiB.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64), Failure> {
    let file = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&file).map_err(|error| gone(pid, &error))?;
    let now = kib(&status, "VmRSS:");
    let peak = kib(&status, "VmHWM:");
    now.zip(peak)
        .ok_or_else(|| Failure::while_doing(file, "it has another form than known"))
}

fn gone(pid: u32, error: &std::io::Error) -> Failure {
    Failure::while_doing(format!("process {pid}"), error)
}

/// `utime` and `stime` of `proc_pid_stat(5)`: fields 14 and 15, counted after the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 4 0 5000";
        for name in ["aaa", "a b", "a) S 1 (b", ""] {
            assert_eq!(ticks(&format!("42 ({name}) {fields}")), Some(175), "{name}");
        }
        assert_eq!(ticks("42 (aaa) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\taaa\nVmHWM:\t   20480 kB\nVmRSS:\t   18000 kB\nThreads:\t4\n";
        assert_eq!(kib(status, "VmRSS:"), Some(18_000));
        assert_eq!(kib(status, "VmHWM:"), Some(20_480));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_both() {
        let pid = std::process::id();
        let (resident, peak) = memory(pid).unwrap();
        assert!(resident > 0 && peak >= resident);
        assert!(cpu_seconds(pid).is_ok());
        assert!(memory(u32::MAX).is_err());
    }
}

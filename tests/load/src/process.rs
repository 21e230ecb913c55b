//! What the kernel knows of a process: how long it has computed, and how much memory it holds.

use crate::cli::MemoryOptions;
use crate::failure::Failure;
use crate::outcome::{self, Cores, Memory, Outcome};
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

/// What has been computed until a moment.
pub(crate) struct CpuUse {
    generator: f64,
    service: Option<(u32, f64)>,
    machine: f64,
}

impl CpuUse {
    /// Until now, by this process, by the service, and by all.
    pub(crate) fn now(service: Option<u32>) -> Result<Self, Failure> {
        let service = service.map(|pid| cpu_seconds(pid).map(|seconds| (pid, seconds)));
        Ok(Self {
            generator: cpu_seconds(std::process::id())?,
            service: service.transpose()?,
            machine: machine_seconds()?,
        })
    }

    /// The cores that each has used since, over this time.
    pub(crate) fn since(&self, seconds: f64) -> Result<Cores, Failure> {
        let now = Self::now(self.service.map(|(pid, _)| pid))?;
        let generator = now.generator - self.generator;
        let service = now.service.zip(self.service);
        let service = service.map(|((_, now), (_, before))| now - before);
        // Times are rounded, so that nothing can come out a little below nothing.
        let others = service
            .map(|service| (now.machine - self.machine - generator - service).max(0.0) / seconds);
        Ok(Cores {
            generator: generator / seconds,
            service: service.map(|service| service / seconds),
            others,
        })
    }
}

/// The seconds that a process has computed, in its own code and in the kernel for it, on all cores together.
fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let file = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&file).map_err(|error| gone(pid, &error))?;
    ticks(&stat)
        .map(|ticks| float(ticks) / TICKS)
        .ok_or_else(|| Failure::while_doing(file, "it has another form than known"))
}

/// The seconds that all cores together were not idle.
fn machine_seconds() -> Result<f64, Failure> {
    let file = "/proc/stat";
    let stat = std::fs::read_to_string(file).map_err(|error| Failure::while_doing(file, error))?;
    busy_ticks(&stat)
        .map(|ticks| float(ticks) / TICKS)
        .ok_or_else(|| Failure::while_doing(file, "it has another form than known"))
}

/// Resident memory now and at most, in KiB.
fn memory(pid: u32) -> Result<(u64, u64), Failure> {
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

/// `user nice system idle iowait irq softirq steal` of `proc_stat(5)`, without the two in which nothing is computed.
fn busy_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Option<Vec<u64>> = all
        .split_ascii_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect();
    match *fields?.as_slice() {
        [user, nice, system, _, _, irq, softirq, steal] => {
            Some(user + nice + system + irq + softirq + steal)
        }
        _ => None,
    }
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
    fn a_machine_is_busy_with_everything_but_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 90 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(171));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
        assert_eq!(busy_ticks("cpu0 1 1 1 1 1 1 1 1 1 1\n"), None);
    }

    #[test]
    fn others_are_told_when_the_service_is_known() {
        assert!(
            CpuUse::now(None)
                .unwrap()
                .since(1.0)
                .unwrap()
                .others
                .is_none()
        );
        let cores = CpuUse::now(Some(std::process::id()))
            .unwrap()
            .since(1.0)
            .unwrap();
        assert!(cores.service.is_some() && cores.others.is_some_and(|others| others >= 0.0));
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

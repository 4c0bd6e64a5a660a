//! What the machine gives: CPUs, memory, descriptors.

use crate::store::Budget;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Whose limits are asked for: those of this process, or of another that can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    Process(u32),
}

/// The CPUs that a process may use, as its cgroup and its affinity leave them.
pub(crate) fn cpus(whose: Whose) -> Vec<usize> {
    let process = match whose {
        Whose::Own => None,
        Whose::Process(number) => i32::try_from(number).ok().and_then(Pid::from_raw),
    };
    let allowed = rustix::thread::sched_getaffinity(process).map(|set| {
        (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect::<Vec<_>>()
    });
    match allowed {
        Ok(mut cpus) if !cpus.is_empty() => {
            cpus.truncate(cpu_quota(whose).unwrap_or(usize::MAX));
            cpus
        }
        _ => vec![0],
    }
}

/// Raises the limit on open files as far as it goes, sees to it that mail is never written to a core dump, and keeps memory
/// in small pages: mail comes and goes in small pieces, and clearing two megabytes for the first of them costs more than it
/// saves (docs/performance.md).
pub(super) fn prepare() {
    let files = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    if let Err(why) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit on open files stays as it is: {why}");
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let undumpable = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(why) = crate::edge::ring::process::small_pages_only() {
        tracing::debug!("huge pages stay as they are: {why}");
    }
    if let Err(why) = undumpable {
        tracing::warn!("a crash might write mail to a core dump: {why}");
    }
}

/// Open files that one descriptor table may hold.
pub(super) fn files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The budget for mail in bytes: what the operator set, else half of what there is.
pub(super) fn memory_budget(budget: &Budget) -> u64 {
    match budget.memory.0 {
        0 => machine_memory() / 2,
        bytes => bytes,
    }
}

/// The memory of the machine, or of the tightest cgroup around this process if that is less.
fn machine_memory() -> u64 {
    let machine = machine_bytes("MemTotal:").unwrap_or(1 << 30);
    group_bytes(Whose::Own, "memory.max").map_or(machine, |group| group.min(machine))
}

/// What the kernel says of the machine's memory, in bytes: `MemTotal:`, `SwapTotal:`.
pub(crate) fn machine_bytes(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    bytes_of(&text, field)
}

/// The least that the cgroups around a process say in this file, in bytes; `None` if none limits it.
pub(crate) fn group_bytes(whose: Whose, file: &str) -> Option<u64> {
    group_values(whose, file)
        .iter()
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

/// CPUs' worth of time that the tightest cgroup around a process leaves it, rounded up; `None` when there is no quota.
fn cpu_quota(whose: Whose) -> Option<usize> {
    group_values(whose, "cpu.max")
        .iter()
        .filter_map(|text| quota_of(text))
        .min()
}

/// `"<quota> <period>"` in microseconds, or `"max <period>"`.
fn quota_of(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

/// What a file says in the cgroup of a process and in all those around it (cgroup v2).
fn group_values(whose: Whose, file: &str) -> Vec<String> {
    let process = match whose {
        Whose::Own => "self".to_owned(),
        Whose::Process(number) => number.to_string(),
    };
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let path = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or("");
    std::path::Path::new(path)
        .ancestors()
        .filter_map(|group| {
            let folder = std::path::Path::new("/sys/fs/cgroup").join(group);
            std::fs::read_to_string(folder.join(file)).ok()
        })
        .collect()
}

fn bytes_of(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read() {
        assert_eq!(
            bytes_of("MemTotal:       24680 kB\nMemFree: 1 kB\n", "MemTotal:"),
            Some(24680 << 10)
        );
        assert_eq!(bytes_of("nothing", "MemTotal:"), None);
        let whose = Whose::Process(std::process::id());
        assert!(!cpus(Whose::Own).is_empty());
        assert_eq!(cpus(whose), cpus(Whose::Own));
        assert_eq!(
            group_values(whose, "memory.max"),
            group_values(Whose::Own, "memory.max")
        );
        assert_eq!(
            [
                quota_of("150000 100000\n"),
                quota_of("max 100000"),
                quota_of("5 100000")
            ],
            [Some(2), None, Some(1)]
        );
    }
}

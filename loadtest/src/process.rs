//! What processes use: CPU time and memory of a whole tree, from /proc.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;

/// Process groups that are ended with this process, however it ends.
static GROUPS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Clock ticks a second, in which /proc counts.
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The fields of /proc/PID/stat behind the name, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// All processes.
fn entries() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
    })
}

/// Ticks of a process: utime, stime, and those of children that have ended.
fn used_ticks(fields: &[String]) -> f64 {
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (11..=14).map(ticks).sum()
}

/// A process and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in entries() {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut at) = (vec![root], 0);
    while let Some(pid) = found.get(at) {
        if let Some(more) = children.remove(pid) {
            found.extend(more);
        }
        at += 1;
    }
    found
}

/// CPU seconds of a process and all below it, those that have ended and were waited for included.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let used = tree(root)
        .into_iter()
        .filter_map(stat)
        .map(|fields| used_ticks(&fields));
    used.sum::<f64>() / ticks_per_second()
}

/// CPU seconds of one process. Cheap: for sampling.
pub(crate) fn cpu_seconds_alone(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |fields| used_ticks(&fields)) / ticks_per_second()
}

/// CPU seconds of this process alone.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Memory that a process and all below it have for themselves, in bytes: what is shared is divided by those who share it.
pub(crate) fn memory_bytes(root: u32) -> u64 {
    tree(root)
        .iter()
        .filter_map(|pid| proportional(*pid).or_else(|| resident(*pid)))
        .sum()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kibibytes| kibibytes * 1024)
}

fn proportional(pid: u32) -> Option<u64> {
    kibibytes(
        &fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?,
        "Pss:",
    )
}

/// Resident memory of one process, in bytes. Cheap: for sampling.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    kibibytes(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        "VmRSS:",
    )
}

/// CPU seconds that everything on the machine has used, counted in two ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// By the CPUs, without the kernel's own threads, which mostly work for the load. Of what works in short pieces between two ticks this
    /// sees less than there is. Interrupts are in it, since the ticks that they fall into are in the time of the program that was interrupted
    /// as well.
    by_cpus: f64,
    /// By the programs that can be seen. In a container those outside of it cannot.
    by_programs: f64,
}

impl Used {
    /// Up to now.
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let fields: Vec<f64> = first
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let worked: f64 = [USER, NICE, SYSTEM, IRQ, SOFTIRQ]
            .iter()
            .filter_map(|at| fields.get(*at))
            .sum();
        // The children of kthreadd, which is process 2 where it can be seen.
        let (kernel, programs): (Vec<_>, Vec<_>) = entries()
            .filter_map(stat)
            .partition(|fields| fields.get(1).is_some_and(|parent| parent == "2"));
        let sum = |all: Vec<Vec<String>>| all.iter().map(|fields| used_ticks(fields)).sum::<f64>();
        Self {
            by_cpus: (worked - sum(kernel)) / ticks_per_second(),
            by_programs: sum(programs) / ticks_per_second(),
        }
    }

    /// What was used since `earlier` by others than us, who used so much of it: the larger of both counts, since each may miss something.
    pub(crate) fn by_others_since(self, earlier: Self, ours: f64) -> f64 {
        let by_cpus = self.by_cpus - earlier.by_cpus;
        let by_programs = self.by_programs - earlier.by_programs;
        by_cpus.max(by_programs) - ours
    }
}

/// Places in the first line of /proc/stat (proc_stat(5)).
const USER: usize = 0;
const NICE: usize = 1;
const SYSTEM: usize = 2;
const IRQ: usize = 5;
const SOFTIRQ: usize = 6;

/// Remembers a group, to end it if we are ended.
pub(crate) fn started(group: u32) {
    if let (Ok(mut groups), Ok(group)) = (GROUPS.lock(), i32::try_from(group)) {
        groups.push(group);
    }
}

/// Forgets a group that has ended.
pub(crate) fn ended(group: u32) {
    if let Ok(mut groups) = GROUPS.lock() {
        groups.retain(|known| u32::try_from(*known) != Ok(group));
    }
}

/// Sends a signal to a group; it may be gone already.
pub(crate) fn signal(group: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(group)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Ends those of a tree that have outlived its root: daemons with a process group of their own. A number that was given away again
/// meanwhile is left alone, because its parent is another.
pub(crate) fn end_orphans(tree: &[u32]) {
    for pid in tree {
        let parent = stat(*pid).and_then(|fields| fields.get(1)?.parse::<u32>().ok());
        let orphaned = parent.is_some_and(|parent| parent == 1 || tree.contains(&parent));
        if let (true, Some(pid)) = (
            orphaned,
            i32::try_from(*pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw),
        ) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Ends all groups that are known.
pub(crate) fn end_all() {
    let groups = GROUPS
        .lock()
        .map(|groups| groups.clone())
        .unwrap_or_default();
    for group in groups {
        signal(
            u32::try_from(group).unwrap_or_default(),
            rustix::process::Signal::KILL,
        );
    }
}

/// Ends what was started, and this process, when it is asked to end.
pub(crate) fn end_with_us() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut hangup), Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::hangup()),
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            let code = tokio::select! {
                _ = hangup.recv() => 129,
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            end_all();
            crate::scratch::remove_all();
            std::process::exit(code);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_in_our_own_tree_and_use_something() {
        let own = std::process::id();
        assert!(tree(own).contains(&own));
        assert!(memory_bytes(own) > 0);
        assert!(resident(own).is_some_and(|bytes| bytes > 0));
        let earlier = Used::now();
        assert!(earlier.by_cpus > 0.0 && earlier.by_programs > 0.0);
        // What we say to have used is nobody else's.
        assert!(earlier.by_others_since(earlier, 2.0) <= -2.0);
    }

    #[test]
    fn sizes_of_proc_are_in_kibibytes() {
        assert_eq!(
            kibibytes("Name: x\nVmRSS:\t  12 kB\n", "VmRSS:"),
            Some(12 * 1024)
        );
        assert_eq!(kibibytes("", "VmRSS:"), None);
    }
}

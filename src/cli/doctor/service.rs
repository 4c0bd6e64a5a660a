//! The mayfly that serves with the settings, as the kernel sees it. Its limits are what counts, not those of the shell from which
//! somebody looks.
//!
//! It says its number itself, but that is of its own namespace: in containers it is often 1. So it is looked for among all
//! processes that can be seen.

use crate::control::status::Status;
use std::fs::read_to_string;

/// How much older a process may be than its server has been ready, and by how much clocks may differ, in seconds.
const AGE_DIFFERS_MAX: u64 = 30;

/// The process that has said this of itself, if it can be seen from here.
pub(super) fn find(status: &Status) -> Option<u32> {
    let up = uptime(&read_to_string("/proc/uptime").ok()?)?;
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let names = read_to_string(format!("/proc/{process}/status")).ok()?;
        let begun = begun(&read_to_string(format!("/proc/{process}/stat")).ok()?)?;
        let differs = up.saturating_sub(begun).abs_diff(status.uptime);
        (is_called(&names, status.process) && differs <= AGE_DIFFERS_MAX)
            .then_some((differs, process))
    });
    processes.min().map(|(_, process)| process)
}

/// Open files that a process may have, soft and hard limit; `None` if its limits cannot be read.
pub(super) fn files(process: u32) -> Option<[Option<u64>; 2]> {
    open_files(&read_to_string(format!("/proc/{process}/limits")).ok()?)
}

/// Whether `/proc/PID/status` is that of a mayfly which has this number where it runs.
fn is_called(status: &str, process: u32) -> bool {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let innermost = field("NSpid:").and_then(|numbers| numbers.split_whitespace().last());
    let is_mayfly = field("Name:").is_some_and(|name| name.trim().starts_with("mayfly"));
    is_mayfly && innermost.and_then(|number| number.parse().ok()) == Some(process)
}

/// Seconds from the machine's start, of `/proc/uptime`.
fn uptime(text: &str) -> Option<u64> {
    text.split('.').next()?.parse().ok()
}

/// When a process began, in seconds from the machine's start, of `/proc/PID/stat` (proc_pid_stat(5)).
fn begun(stat: &str) -> Option<u64> {
    // The second field is the program's name and may have spaces and parentheses in it. This is the 22nd.
    let ticks: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    Some(ticks / rustix::param::clock_ticks_per_second().max(1))
}

/// The limits on open files in `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<[Option<u64>; 2]> {
    let rest = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = rest.split_whitespace().map(|limit| limit.parse().ok());
    Some([numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_name_and_its_own_number() {
        let contained = "Name:\tmayfly\nPid:\t4711\nNSpid:\t4711\t1\n";
        assert!(is_called(contained, 1));
        assert!(!is_called(contained, 4_711));
        assert!(is_called("Name:\tmayfly\nNSpid:\t4711\n", 4_711));
        assert!(!is_called("Name:\tinit\nNSpid:\t1\n", 1));
        assert!(!is_called("", 0));
    }

    #[test]
    fn its_age_is_read() {
        assert_eq!(uptime("12345.67 89.01\n"), Some(12_345));
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 123400 20";
        let ticks_a_second = rustix::param::clock_ticks_per_second();
        assert_eq!(begun(stat), Some(123_400 / ticks_a_second));
        assert_eq!(begun("7 (x) S"), None);
    }

    #[test]
    fn its_limits_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             127                  127                  processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some([Some(1_024), Some(524_288)]));
        let none = "Max open files            unlimited            unlimited            files\n";
        assert_eq!(open_files(none), Some([None, None]));
        assert_eq!(open_files(""), None);
        assert!(files(std::process::id()).is_some());
    }
}

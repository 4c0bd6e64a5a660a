//! What a result must say about the machine that it was made on. No name of a host, and no path.

use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;

/// A machine and the programs on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: u64,
    /// Whether the CPU says that it runs under a hypervisor.
    pub(crate) is_virtual: bool,
    /// Descriptors that one process may have.
    pub(crate) descriptors_max: u64,
    pub(crate) listen_backlog_max: String,
    pub(crate) rust: String,
    /// Optimised, or with debug assertions: of the generator, and of the server if `loadtest/run` built both.
    pub(crate) profile: String,
    pub(crate) mayfly: String,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let first_line = |path: &str| {
            fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": "))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"));
        let kibibytes = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            kernel: first_line("/proc/sys/kernel/osrelease"),
            cpu: field("model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or_default() * 1024,
            is_virtual: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            descriptors_max: limit.maximum.unwrap_or(u64::MAX),
            listen_backlog_max: first_line("/proc/sys/net/core/somaxconn"),
            rust: version("rustc", &["--version"]),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release: thin LTO, 1 codegen unit"
            }
            .to_owned(),
            mayfly: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The first line that a program says of its version; empty if there is none.
pub(crate) fn version(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output();
    let text = said
        .map(|said| String::from_utf8_lossy(&said.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The day, as in names of folders.
pub(crate) fn today() -> String {
    let days = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 86_400);
    date(days)
}

/// The date of a day since 1970, in the Gregorian calendar (H. Hinnant's algorithm of days and eras).
fn date(days: u64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (20_783, "2026-11-26"),
            (20_818, "2026-12-31"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_cpu() {
        let machine = Machine::this();
        assert!(!machine.kernel.is_empty() && machine.cpus > 0 && machine.memory_bytes > 0);
    }
}

//! Is io_uring there, and if not, what forbids it and how is it allowed?
//!
//! Asked before anything else is started, since the runtime cannot say it as clearly.

use std::fmt;
use std::io;

/// The kernel's locked memory that the runtime needs for each process, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Why io_uring cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// `kernel.io_uring_disabled` says no.
    Sysctl(u8),
    /// A seccomp filter says no, as containers' default profiles do.
    Seccomp,
    /// The kernel has none, or not what is needed.
    TooOld,
    /// Too little memory may be locked.
    Memlock(u64),
    /// Something else.
    Other(String),
}

impl Unusable {
    /// What it is, why it is so, and what mends it.
    #[must_use]
    pub fn parts(&self) -> (String, &'static str, &'static str) {
        match self {
            Self::Sysctl(level) => (
                format!("io_uring is switched off (kernel.io_uring_disabled = {level})"),
                "the machine's administrator has forbidden it, here or on the container's host",
                "on the host: echo kernel.io_uring_disabled=0 > /etc/sysctl.d/90-mayfly-io_uring.conf && sysctl --system   (with 1, members of kernel.io_uring_group may use it)",
            ),
            Self::Seccomp => (
                "io_uring is blocked by a seccomp filter (io_uring_setup: EPERM)".to_owned(),
                "the default profiles of Docker 25, containerd 2 and later leave io_uring out",
                "run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register, or with --security-opt seccomp=unconfined",
            ),
            Self::TooOld => (
                "this kernel's io_uring lacks what mayfly needs".to_owned(),
                "multishot receive and deferred task work came with Linux 6.1",
                "run Linux 6.1 or newer",
            ),
            Self::Memlock(bytes) => (
                format!("only {bytes} bytes of memory may be locked (RLIMIT_MEMLOCK)"),
                "the rings need 524,288 bytes at least",
                "ulimit -l unlimited, LimitMEMLOCK=infinity in the service's unit, or --ulimit memlock=-1 for a container",
            ),
            Self::Other(error) => (
                format!("io_uring cannot be used: {error}"),
                "the kernel gave no better reason",
                "see docs/operations.md",
            ),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why, fix) = self.parts();
        write!(f, "{what}\n  why: {why}\n  fix: {fix}")
    }
}

impl std::error::Error for Unusable {}

/// Tries to make a ring as the cores will.
///
/// # Errors
/// What forbids it.
pub fn io_uring() -> Result<(), Unusable> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    if let Some(bytes) = limit.filter(|bytes| *bytes < MEMLOCK_BYTES_MIN) {
        return Err(Unusable::Memlock(bytes));
    }
    match super::ring::Ring::new(16) {
        Ok(_) => Ok(()),
        Err(error) => Err(diagnose(
            &error,
            &std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default(),
            &std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
        )),
    }
}

/// Finds the reason behind an error, from the sysctl's value and this process's status.
fn diagnose(error: &io::Error, disabled: &str, status: &str) -> Unusable {
    let level = disabled.trim().parse().unwrap_or(0);
    let filtered = status.lines().any(|line| {
        line.strip_prefix("Seccomp:")
            .is_some_and(|mode| mode.trim() == "2")
    });
    match error.raw_os_error() {
        Some(libc::EPERM) if level > 0 => Unusable::Sysctl(level),
        Some(libc::EPERM) if filtered => Unusable::Seccomp,
        Some(libc::ENOSYS) if filtered => Unusable::Seccomp,
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => Unusable::TooOld,
        _ => Unusable::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_being_forbidden_is_named() {
        let table = [
            (libc::EPERM, "2\n", "Seccomp:\t0\n", Unusable::Sysctl(2)),
            (
                libc::EPERM,
                "0\n",
                "Name: x\nSeccomp:\t2\n",
                Unusable::Seccomp,
            ),
            (libc::ENOSYS, "", "Seccomp:\t2\n", Unusable::Seccomp),
            (libc::ENOSYS, "", "Seccomp:\t0\n", Unusable::TooOld),
            (libc::EINVAL, "0", "", Unusable::TooOld),
        ];
        for (errno, disabled, status, expected) in table {
            let error = io::Error::from_raw_os_error(errno);
            let found = diagnose(&error, disabled, status);
            assert!(found.to_string().contains("fix:"));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn io_uring_is_usable_where_the_tests_run() {
        assert_eq!(io_uring(), Ok(()));
    }
}

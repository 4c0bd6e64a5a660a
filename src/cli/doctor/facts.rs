//! What was seen of a machine, and what is to be said about it.

use crate::config::Config;
use crate::edge::probe::Unusable;
use crate::server::machine::Whose;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Everything that was looked at. What could not be seen is `None`.
#[derive(Debug)]
pub(super) struct Facts {
    /// The settings, or what is wrong with them.
    pub(super) config: Result<Config, String>,
    /// Whether a mayfly answers at the operator's address already.
    pub(super) running: bool,
    /// Whose open files, swap, memory and CPUs these are: of the mayfly that answers, if its process can be seen, else of
    /// whoever looks.
    pub(super) whose: Whose,
    /// What the kernel calls itself: `6.12.3-amd64`.
    pub(super) kernel: String,
    /// Whether a ring can be made.
    pub(super) io_uring: Result<(), Unusable>,
    /// Open files, soft and hard limit.
    pub(super) files: [Option<u64>; 2],
    /// Whether a thread may have a descriptor table of its own, or what forbids it.
    pub(super) own_tables: Result<(), String>,
    /// `net.core.somaxconn`.
    pub(super) somaxconn: Option<u32>,
    /// Swap that the process could be written to, in bytes.
    pub(super) swap: u64,
    /// Whether a kernel waits for the crash of this one, to write down its memory.
    pub(super) kdump: bool,
    /// Memory of the machine, and of the tightest control group around the process, in bytes.
    pub(super) memory: [Option<u64>; 2],
    /// CPUs that the process may use.
    pub(super) cpus: usize,
    /// Every listener, and whether it can be had.
    pub(super) ports: Vec<(SocketAddr, Result<(), ErrorKind>)>,
    /// Whether the clock is kept in step; `None` if that cannot be told.
    pub(super) clock: Option<bool>,
    /// Each certificate of the settings.
    pub(super) certificates: Vec<(PathBuf, Result<Pair, String>)>,
    /// What the world's names lead to.
    pub(super) names: Vec<Name>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Facts {
    /// Whose limits were read, in words.
    pub(super) fn who(&self) -> String {
        match self.whose {
            Whose::Own => "this shell".to_owned(),
            Whose::Process(number) => format!("the mayfly that runs (process {number})"),
        }
    }
}

/// A certificate and its key, which fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// What it is for.
    pub(super) names: Vec<String>,
    /// Seconds since 1970 at which it ends.
    pub(super) expires: i64,
    /// Whether others than its owner and their group can read its key.
    pub(super) key_is_open: bool,
}

/// What DNS says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The addresses of `server.hostname`.
    Host(String, Result<Vec<IpAddr>, String>),
    /// Where senders take the mail of a domain.
    Domain(String, Result<Exchangers, String>),
}

/// Where senders take the mail of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchangers {
    /// To these hosts, the best first.
    Named(Vec<String>),
    /// There is no MX record, so to the addresses of the domain itself, if it has any (RFC 5321 section 5.1).
    Implicit(Vec<IpAddr>),
    /// Nowhere: it says that it takes no mail (RFC 7505).
    Refused,
}

/// How bad something is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, in a word.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// Why it matters.
    pub(super) why: String,
    /// What mends it, as a command where there is one.
    pub(super) fix: Option<String>,
}

impl Finding {
    fn new(
        verdict: Verdict,
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            why: why.into(),
            fix: None,
        }
    }

    pub(super) fn ok(
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Ok, check, found, why)
    }

    pub(super) fn warn(
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Warn, check, found, why)
    }

    pub(super) fn fail(
        check: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Fail, check, found, why)
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

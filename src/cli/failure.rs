//! How a command ends, and what it says when it fails: what, why, and how to mend it.

use serde_json::json;
use std::fmt;
use std::process::ExitCode;

/// The exit codes. They are part of the interface: scripts go by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Fine = 0,
    /// Something failed.
    Failure = 1,
    /// The arguments or the settings are wrong; clap uses the same number.
    Usage = 2,
    /// There is no such mailbox, message or part, or not any more.
    NotFound = 3,
    /// What was waited for did not come in time.
    TimedOut = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// With which code the process ends.
    pub exit: Exit,
    /// A word for programs.
    pub code: String,
    /// What happened.
    pub what: String,
    /// Why, if that is not plain.
    pub why: Option<String>,
    /// What helps, if something is known to.
    pub fix: Option<String>,
}

impl Failure {
    /// A failure of this kind, with a word for programs.
    pub(super) fn new(exit: Exit, code: &str, what: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            what: what.into(),
            why: None,
            fix: None,
        }
    }

    /// Wrong arguments or settings.
    pub(super) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", what)
    }

    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// One line of JSON, for scripts that asked for it.
    pub(super) fn json(&self) -> String {
        let Self {
            exit,
            code,
            what,
            why,
            fix,
        } = self;
        let error = json!({
            "code": code, "what": what, "why": why, "fix": fix, "exit": *exit as u8,
        });
        json!({ "error": error }).to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why: {why}")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_how_to_mend_it() {
        let failure = Failure::usage("no").because("so").fix("thus");
        assert_eq!(failure.to_string(), "error: no\n  why: so\n  fix: thus");
        assert_eq!(
            failure.json(),
            r#"{"error":{"code":"usage","exit":2,"fix":"thus","what":"no","why":"so"}}"#
        );
        let plain = Failure::new(Exit::TimedOut, "timed-out", "late");
        assert_eq!(plain.to_string(), "error: late");
        assert!(plain.json().contains(r#""fix":null"#));
    }
}

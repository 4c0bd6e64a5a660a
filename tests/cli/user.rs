//! Somebody who runs mayfly at a prompt, with a home of their own.

use crate::gateway::{Gateway, tools};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command came to: its exit code, stdout, stderr.
pub(crate) type Outcome = (Option<i32>, String, String);

/// Runs mayfly and gives its exit code, what it said on stdout and what it said on stderr.
pub(crate) fn mayfly(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mayfly"));
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    outcome(&mut command)
}

pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let output = tools::run(command, "");
    let [stdout, stderr] = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).expect("mayfly speaks UTF-8"));
    (output.status.code(), stdout, stderr)
}

/// Somebody with a home and a server.
pub(crate) struct User {
    home: PathBuf,
    server: String,
    operator: String,
    /// More of their environment.
    variables: Vec<(String, String)>,
}

impl User {
    /// A user of this gateway, whose home is in its folder.
    pub(crate) fn of(gateway: &Gateway, name: &str) -> Self {
        let home = gateway.folder().join(name);
        std::fs::create_dir(&home).expect("a folder");
        Self {
            operator: format!("http://{}", gateway.operator),
            ..Self::at(&home, gateway.http)
        }
    }

    /// A user of a server at this address.
    pub(crate) fn at(home: &Path, server: SocketAddr) -> Self {
        Self {
            home: home.to_owned(),
            server: format!("http://{server}"),
            operator: String::new(),
            variables: Vec::new(),
        }
    }

    /// The same user with an environment that can be changed.
    pub(crate) fn again(other: &Self) -> Self {
        Self {
            home: other.home.clone(),
            server: other.server.clone(),
            operator: other.operator.clone(),
            variables: other.variables.clone(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where their mailbox is kept.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join(".local/state/mayfly/mailbox.json")
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A command with their environment and nothing of the one of the tests.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("MAYFLY_SERVER", &self.server)
            .env("MAYFLY_OPERATOR", &self.operator)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.home);
        command
    }

    /// Runs `mayfly` with these words.
    pub(crate) fn runs(&self, words: &str) -> Outcome {
        let mut command = self.command(env!("CARGO_BIN_EXE_mayfly"));
        outcome(command.args(words.split_whitespace()))
    }

    /// Runs it; it must succeed. Gives what it printed.
    pub(crate) fn succeeds(&self, words: &str) -> String {
        let (code, stdout, stderr) = self.runs(words);
        assert_eq!(code, Some(0), "{words}: {stderr}");
        stdout
    }

    /// Runs it; it must end with this code, print nothing and say why.
    pub(crate) fn fails(&self, words: &str, expected: i32) -> String {
        let (code, stdout, stderr) = self.runs(words);
        assert_eq!(
            (code, stdout.as_str()),
            (Some(expected), ""),
            "{words}: {stderr}"
        );
        stderr
    }

    /// What it printed, as JSON.
    pub(crate) fn json(&self, words: &str) -> Value {
        let printed = self.succeeds(words);
        serde_json::from_str(&printed).unwrap_or_else(|why| panic!("{words}: {why} in {printed}"))
    }

    /// Runs it on a terminal of its own (util-linux's `script` makes one); gives what the terminal was shown.
    pub(crate) fn shown(&self, words: &str) -> String {
        let line = format!("{} {words}", env!("CARGO_BIN_EXE_mayfly"));
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let (code, stdout, stderr) = outcome(&mut command);
        assert_eq!(code, Some(0), "{words}: {stdout}{stderr}");
        stdout
    }
}

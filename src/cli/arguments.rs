//! What may stand behind `mayfly`.

use super::doctor::DoctorArguments;
use super::mailbox::MailboxArguments;
use super::pages::{CompletionsArguments, ManArguments};
use super::status::StatusArguments;
use super::top::TopArguments;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Without a command mayfly serves, without a file with its defaults.
Environment variables MAYFLY__SECTION__KEY win over the file.

Exit codes: 0 all went well, 1 failure, 2 wrong arguments or settings,
3 no such mailbox, message or part (or not any more), 4 nothing came in time.";

/// A front-line mail exchanger whose mail lives only in RAM, and only for a while.
#[derive(Debug, Parser)]
#[command(name = "mayfly", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What is to be done; without a command mayfly serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How it serves.
    #[command(flatten)]
    pub serve: ServeArguments,
}

/// How the server is started.
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// Reads settings from this TOML file; SIGHUP reads it again.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Takes mail and hands it out, until SIGTERM (the default).
    Serve(ServeArguments),
    /// Explains every mistake in a configuration file and in the environment.
    CheckConfig {
        /// The file; without one only the environment is checked.
        file: Option<PathBuf>,
        /// Prints every value with where it comes from.
        #[arg(long)]
        print_effective: bool,
    },
    /// Prints what can be set.
    Config {
        /// In which form.
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Makes keys for the API.
    Key {
        /// What is to be done with them.
        #[command(subcommand)]
        what: KeyCommand,
    },
    /// Creates a mailbox, waits for its mail, reads it: a client of any mayfly.
    Mailbox(MailboxArguments),
    /// Shows how a running mayfly does.
    Status(StatusArguments),
    /// Says whether this machine can run mayfly, and what to change about it.
    Doctor(DoctorArguments),
    /// Watches a running mayfly: rates, latency, memory, cores, refusals.
    Top(TopArguments),
    /// Prints what makes a shell complete the commands.
    Completions(CompletionsArguments),
    /// Prints a page for man, or writes all of them.
    Man(ManArguments),
}

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Prints a new key, which is stored nowhere, and what to write into the configuration for it.
    New {
        /// The plan that it grants.
        #[arg(long, default_value = "team")]
        plan: String,
    },
}

/// Forms of the manual of settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// All settings with their defaults, as a commented TOML file.
    Defaults,
    /// All settings as a Markdown page.
    Docs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_agree_with_one_another() {
        Arguments::command().debug_assert();
    }
}

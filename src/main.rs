//! Arguments, then settings, then [`mayfly::server::run`].
//!
//! Data goes to stdout, messages go to stderr. There is no colour, so NO_COLOR has nothing to turn off.

#![allow(
    clippy::print_stderr,
    reason = "messages to the person at the terminal are printed here and nowhere else"
)]

use clap::{Args, Parser, Subcommand};
use mayfly::config::{Config, manual};
use mayfly::control::keys::{self, ApiKey};
use mayfly::server;
use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Mail is to be forgotten for certain. Its bytes pass through many hands on their way: buffers of
/// the TLS and HTTP libraries, lines, headers, replies. Only the allocator sees all of them go, so
/// it overwrites everything that is freed.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> =
    zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

/// Something failed while it ran.
const EXIT_FAILURE: u8 = 1;
/// The arguments or the settings are wrong; clap uses the same number.
const EXIT_USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Without a command mayfly serves, without a file with its defaults.
Environment variables MAYFLY__SECTION__KEY win over the file.

Exit codes: 0 all went well, 1 failure, 2 wrong arguments or settings.";

/// A front-line mail exchanger whose mail lives only in RAM, and only for a while.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Args, Debug)]
struct ServeArguments {
    /// Reads settings from this TOML file; SIGHUP reads it again.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
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
        #[command(subcommand)]
        what: Manual,
    },
    /// Makes keys for the API.
    Key {
        #[command(subcommand)]
        what: KeyCommand,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Prints a new key, which is stored nowhere, and what to write into the configuration for it.
    New {
        /// The plan that it grants.
        #[arg(long, default_value = "team")]
        plan: String,
    },
}

#[derive(Debug, Subcommand)]
enum Manual {
    /// All settings with their defaults, as a commented TOML file.
    Defaults,
    /// All settings as a Markdown page.
    Docs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve(arguments.serve),
        Some(Command::Serve(arguments)) => serve(arguments),
        Some(Command::CheckConfig {
            file,
            print_effective,
        }) => check_config(file.as_deref(), print_effective),
        Some(Command::Config { what }) => {
            let text = match what {
                Manual::Defaults => manual::manual_toml(&Config::default()),
                Manual::Docs => manual::manual_markdown(),
            };
            print_data(&text)
        }
        Some(Command::Key {
            what: KeyCommand::New { plan },
        }) => print_data(&new_key(&plan)),
    }
}

fn new_key(plan: &str) -> String {
    let key = ApiKey::draw();
    let (key, hash) = (key.reveal(), keys::hash(key.reveal().as_bytes()));
    let plan = mayfly::settings::quoted(plan);
    format!(
        "# The key. It is shown this once; whoever creates mailboxes sends it as \"Authorization: Bearer <key>\".\n\
         {key}\n\n\
         # For the configuration of the server, beside a plan of that name under [[plans.offered]]:\n\
         [[plans.keys]]\nplan = {plan}\nhash = \"{hash}\"\n"
    )
}

fn serve(arguments: ServeArguments) -> ExitCode {
    let config = match server::load(arguments.config.as_deref()) {
        Ok(effective) => effective.config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match server::run(config, arguments.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILURE, &error),
    }
}

fn check_config(file: Option<&Path>, print_effective: bool) -> ExitCode {
    let effective = match server::load(file) {
        Ok(effective) => effective,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if print_effective {
        return print_data(&manual::effective_toml(&effective));
    }
    let name = file.map_or_else(|| "the environment".into(), Path::to_string_lossy);
    eprintln!("{name}: in order");
    ExitCode::SUCCESS
}

/// A reader that has seen enough (`| head`) is no failure.
fn print_data(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(EXIT_FAILURE, &format_args!("error: cannot write: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}

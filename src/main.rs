//! Arguments, then what they ask for: [`mayfly::server::run`], or something of [`mayfly::cli`].
//!
//! Data goes to stdout, messages go to stderr.

#![allow(
    clippy::print_stderr,
    reason = "messages to the person at the terminal are printed here"
)]

use clap::Parser as _;
use mayfly::cli::{self, Arguments, Command, ConfigCommand, Exit, KeyCommand, ServeArguments};
use mayfly::config::{Config, manual};
use mayfly::control::keys::{self, ApiKey};
use mayfly::server;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// Mail is to be forgotten for certain. Its bytes pass through many hands on their way: buffers of
/// the TLS and HTTP libraries, lines, headers, replies. Only the allocator sees all of them go, so
/// it overwrites everything that is freed.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> =
    zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let exit = match arguments.command {
        None => serve(arguments.serve),
        Some(Command::Serve(arguments)) => serve(arguments),
        Some(Command::CheckConfig {
            file,
            print_effective,
        }) => check_config(file.as_deref(), print_effective),
        Some(Command::Config { what }) => print_data(&match what {
            ConfigCommand::Defaults => manual::manual_toml(&Config::default()),
            ConfigCommand::Docs => manual::manual_markdown(),
        }),
        Some(Command::Key {
            what: KeyCommand::New { plan },
        }) => print_data(&new_key(&plan)),
        Some(Command::Mailbox(arguments)) => cli::mailbox(&arguments),
        Some(Command::Status(arguments)) => cli::status(&arguments),
        Some(Command::Doctor(arguments)) => cli::doctor(&arguments),
        Some(Command::Top(arguments)) => cli::top(&arguments),
        Some(Command::Completions(arguments)) => cli::completions(&arguments),
        Some(Command::Man(arguments)) => cli::man(&arguments),
    };
    exit.into()
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

fn serve(arguments: ServeArguments) -> Exit {
    let config = match server::load(arguments.config.as_deref()) {
        Ok(effective) => effective.config,
        Err(error) => return fail(Exit::Usage, &error),
    };
    match server::run(config, arguments.config) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(Exit::Failure, &error),
    }
}

fn check_config(file: Option<&Path>, print_effective: bool) -> Exit {
    let effective = match server::load(file) {
        Ok(effective) => effective,
        Err(error) => return fail(Exit::Usage, &error),
    };
    if print_effective {
        return print_data(&manual::effective_toml(&effective));
    }
    let name = file.map_or_else(|| "the environment".into(), Path::to_string_lossy);
    eprintln!("{name}: in order");
    Exit::Fine
}

fn print_data(text: &str) -> Exit {
    match cli::print_data(text.as_bytes()) {
        Ok(()) => Exit::Fine,
        Err(failure) => fail(failure.exit, &failure),
    }
}

fn fail(exit: Exit, error: &dyn Display) -> Exit {
    eprintln!("{error}");
    exit
}

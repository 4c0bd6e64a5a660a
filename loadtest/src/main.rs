//! Load tests for mayfly: a generator that knows what it sent, a runner that counts what arrived, and a writer of reports.
//!
//! Read first: `run.rs`, the path of one scenario; `worker.rs`, one generator process; `client.rs`, one session. Only loopback is a
//! target, everything is bounded in count and time, and nothing is left behind.

#![forbid(unsafe_code)]
// A program for the command line: this is how it talks.
#![allow(clippy::print_stdout, clippy::print_stderr)]
// Counts become shares and rates; what is lost beyond 52 bits is nobody's message.
#![allow(clippy::cast_precision_loss)]

mod arguments;
mod client;
mod compare;
mod count;
mod failure;
mod generators;
mod http;
mod job;
mod machine;
mod pacer;
mod payload;
mod process;
mod proxy;
mod reader;
mod report;
mod results;
mod run;
mod scenario;
mod schedule;
mod scratch;
mod server;
mod sizes;
mod summary;
mod tally;
mod thresholds;
mod tls;
mod watcher;
mod wire;
mod worker;

use arguments::{Arguments, Command};
use clap::Parser as _;
use std::process::ExitCode;

/// A threshold was not reached, or something was lost or doubled.
const EXIT_MISSED: u8 = 1;
/// It could not run at all.
const EXIT_FAILURE: u8 = 2;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Worker => worker::main().map(|()| true),
        Command::Report(report) => report.run(),
        Command::Run(run) => run.run(),
        Command::Send(send) => send.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_MISSED),
        Err(failure) => {
            eprintln!("mayfly-load: {failure}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

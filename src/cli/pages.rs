//! Completions for shells, and pages for `man`, made of the arguments as they are declared.

use super::output::{ended, print_data};
use super::{Arguments, Exit, Failure};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

/// When the commands were last changed, for the foot of a page.
const DATE: &str = "2026-11-26";

/// The arguments of `mayfly completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// For which shell.
    shell: Shell,
}

/// The arguments of `mayfly man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// The page of a command: `mailbox wait`. Unless given the page of mayfly itself.
    command: Vec<String>,
    /// Writes every page into this folder: mayfly.1, mayfly-mailbox.1 and so on.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// Prints what makes a shell complete `mayfly`.
#[must_use]
pub fn completions(arguments: &CompletionsArguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "mayfly",
        &mut script,
    );
    ended(print_data(&script).map(|()| Exit::Fine), false)
}

/// Prints or writes pages for `man`.
#[must_use]
pub fn man(arguments: &ManArguments) -> Exit {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    let done = match &arguments.out {
        Some(folder) => write_all(root, folder.clone()),
        None => page_of(&root, &arguments.command).and_then(|page| print_data(&page)),
    };
    ended(done.map(|()| Exit::Fine), false)
}

fn page_of(root: &clap::Command, words: &[String]) -> Result<Vec<u8>, Failure> {
    let mut command = root;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::usage(format!("there is no command {:?}", words.join(" ")))
                .fix("mayfly --help shows what there is")
        })?;
    }
    render(command)
}

fn render(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .date(DATE)
        .manual("mayfly")
        .source(concat!("mayfly ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|why| unwritten(&why))?;
    Ok(page)
}

fn unwritten(why: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        "unwritten",
        format!("cannot write a page: {why}"),
    )
}

fn write_all(root: clap::Command, folder: PathBuf) -> Result<(), Failure> {
    std::fs::create_dir_all(&folder).map_err(|why| unwritten(&why))?;
    let mut waiting = vec![root];
    while let Some(command) = waiting.pop() {
        let name = Man::new(command.clone()).get_filename();
        std::fs::write(folder.join(name), render(&command)?).map_err(|why| unwritten(&why))?;
        waiting.extend(command.get_subcommands().cloned());
    }
    Ok(())
}

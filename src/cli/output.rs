//! Where data and messages go.

use super::{Exit, Failure};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};

/// Writes data to stdout. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// When it cannot be written, for another reason.
pub fn print_data(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(data).and_then(|()| out.flush()))
}

/// What became of data that was written.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failure,
            "unwritten",
            format!("cannot write: {why}"),
        )),
        _ => Ok(()),
    }
}

/// Says something to the person at the terminal. If nobody listens, nobody needs to know.
pub(super) fn tell(message: impl Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// How a command ends; a failure is told, as JSON where that was asked for.
pub(super) fn ended(done: Result<Exit, Failure>, json: bool) -> Exit {
    done.unwrap_or_else(|failure| {
        match json {
            true => tell(failure.json()),
            false => tell(&failure),
        }
        failure.exit
    })
}

/// How stdout is to be written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Whether a terminal shows it.
    pub(super) is_terminal: bool,
    /// Whether in colours.
    pub(super) colours: bool,
}

/// A rendition (ECMA-48 section 8.3.117).
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

impl Terminal {
    /// What stdout is: colours only on a terminal, and never where NO_COLOR is set to anything (no-color.org).
    pub(super) fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_terminal,
            colours: is_terminal && !refused && !dumb,
        }
    }

    /// Text in this ink, where there are colours.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Red => 31,
            Ink::Green => 32,
            Ink::Yellow => 33,
        };
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        assert_eq!(written(Err(ErrorKind::BrokenPipe.into())), Ok(()));
        let full = written(Err(ErrorKind::StorageFull.into())).expect_err("lost data");
        assert_eq!(full.exit, Exit::Failure);
    }

    #[test]
    fn colours_are_left_out_where_there_are_none() {
        for colours in [false, true] {
            let terminal = Terminal {
                is_terminal: true,
                colours,
            };
            let painted = terminal.paint(Ink::Bold, "x");
            assert_eq!(painted.contains('\x1b'), colours);
        }
    }
}

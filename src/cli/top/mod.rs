//! `mayfly top`: a server watched, in a terminal.
//!
//! [`model`] computes and [`view`] draws; both are pure. Here is the loop between the server, the keyboard and the screen.

mod model;
mod scrape;
mod view;

use super::http::{Call, Client};
use super::output::{ended, print_data};
use super::status::{self, Operator};
use super::{Exit, Failure};
use clap::Args;
use model::{Model, Sample};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use scrape::Scrape;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

/// How long a server may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How long the keyboard is listened to before signals are looked for.
const KEYS_TIME: Duration = Duration::from_millis(100);

/// The width of a frame that goes to a file.
const PAGE_WIDTH: u16 = 80;

/// The arguments of `mayfly top`.
#[derive(Args, Debug)]
pub struct TopArguments {
    #[command(flatten)]
    operator: Operator,
    /// How often the server is asked.
    #[arg(long, value_parser = super::mailbox::span, default_value = "1s")]
    interval: Duration,
    /// Prints one frame as text and ends. So it is where stdout is no terminal.
    #[arg(long)]
    once: bool,
}

/// Watches a server until `q`.
#[must_use]
pub fn run(arguments: &TopArguments) -> Exit {
    ended(watch(arguments).map(|()| Exit::Fine), false)
}

fn watch(arguments: &TopArguments) -> Result<(), Failure> {
    let client = arguments
        .operator
        .client()?
        .answered_in(ANSWER_TIME)
        .patient_for(Duration::ZERO);
    let interval = arguments.interval.max(Duration::from_millis(100));
    let began = Instant::now();
    let mut model = Model::default();
    // A server that is not there at all is said on stderr.
    model.take(ask(&client, began)?);
    if arguments.once || !io::stdout().is_terminal() {
        client.pause(interval);
        model.take(ask(&client, began)?);
        return print_data(page(&model).as_bytes());
    }
    let stop = client.stop_signals().map_err(|why| lost(&why))?;
    let mut screen = Screen::open().map_err(|why| lost(&why))?;
    follow(&client, stop, &mut screen, &mut model, began, interval).map_err(|why| lost(&why))
}

fn lost(why: &io::Error) -> Failure {
    Failure::new(
        Exit::Failure,
        "terminal",
        format!("cannot use the terminal: {why}"),
    )
    .fix("mayfly top --once prints one frame as text")
}

fn follow(
    client: &Client,
    mut stop: super::http::StopSignals,
    screen: &mut Screen,
    model: &mut Model,
    began: Instant,
    interval: Duration,
) -> io::Result<()> {
    let mut due = Instant::now() + interval;
    screen.draw(model)?;
    loop {
        let time = due.saturating_duration_since(Instant::now()).min(KEYS_TIME);
        if event::poll(time)? {
            match event::read()? {
                Event::Key(key) if quits(key) => return Ok(()),
                Event::Resize(..) => screen.draw(model)?,
                _ => {}
            }
        }
        if client.told_to_stop(&mut stop) {
            return Ok(());
        }
        if Instant::now() >= due {
            match ask(client, began) {
                Ok(sample) => model.take(sample),
                Err(why) => model.fail(format!("{}: {}", why.what, why.why.unwrap_or_default())),
            }
            screen.draw(model)?;
            due = Instant::now() + interval;
        }
    }
}

/// `q`, Escape and Ctrl-C, which is no signal while keys are read one by one.
fn quits(key: KeyEvent) -> bool {
    let interrupts =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && (interrupts || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn ask(client: &Client, began: Instant) -> Result<Sample, Failure> {
    let answer = client.json(&Call::get("/status", None))?;
    let status = status::read(client, answer)?;
    let page = client.bytes(&Call::get("/metrics", None))?;
    let metrics = Scrape::read(&String::from_utf8_lossy(&page));
    if !metrics.has("mayfly_build_info") {
        return Err(client.no_mayfly("/metrics says something else"));
    }
    Ok(Sample {
        at: began.elapsed(),
        status,
        metrics,
    })
}

/// One frame as text.
fn page(model: &Model) -> String {
    let backend = TestBackend::new(PAGE_WIDTH, view::page_height(model));
    let mut terminal = match Terminal::new(backend) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| view::draw(frame, model)) {
        Ok(_) => text_of(terminal.backend().buffer()),
        Err(never) => match never {},
    }
}

/// The characters of a screen, without blanks at the ends of lines.
fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let rows = buffer.content().chunks(width).map(|cells| {
        let row: String = cells.iter().map(|cell| cell.symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    rows.collect()
}

/// The terminal while it is ours. Dropping it gives it back as it was; so does a panic (ratatui sees to that).
struct Screen(ratatui::DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.0.draw(|frame| view::draw(frame, model)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_quit() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(quits(key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(quits(key(KeyCode::Esc, KeyModifiers::NONE)));
        assert!(quits(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!quits(key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}

//! How `mayfly top` looks: a model in, cells out.

use super::model::{Model, Reject};
use crate::cli::harmless;
use crate::cli::status::bytes;
use crate::control::status::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};
use std::time::Duration;

/// Rows of figures.
const FIGURES: u16 = 7;
/// Rows of the curve, its border included.
const CURVE: u16 = 5;
/// Rows of the cores' table that are shown at most.
const CORES_MAX: u16 = 10;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws a whole screen, whatever its size.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let Some(status) = model.status() else {
        let trouble = model.trouble.as_deref().unwrap_or("asking the server ...");
        frame.render_widget(Paragraph::new(trouble.to_owned()), frame.area());
        return;
    };
    let cores = u16::try_from(status.cores.len())
        .unwrap_or(CORES_MAX)
        .min(CORES_MAX);
    let [title, figures, curve, table, rejects, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(FIGURES),
        Constraint::Length(CURVE),
        Constraint::Length(cores + 2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title_line(status), title);
    frame.render_widget(Paragraph::new(figure_lines(model, status)), figures);
    draw_curve(frame, curve, model);
    frame.render_widget(core_table(status), table);
    frame.render_widget(reject_table(&model.rejects()), rejects);
    let foot_line = match &model.trouble {
        Some(trouble) => Line::styled(trouble.clone(), Color::Red),
        None => Line::styled("q quits", DIM),
    };
    frame.render_widget(foot_line, foot);
}

fn title_line(status: &Status) -> Line<'static> {
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime));
    let pressure = &status.pressure;
    let level = Span::styled(plain(&pressure.level), colour_of(&pressure.level));
    let cause = match pressure.cause.as_str() {
        "calm" | "" => String::new(),
        cause => format!(" ({})", plain(cause)),
    };
    Line::from(vec![
        Span::styled(format!("mayfly {}", plain(&status.version)), BOLD),
        Span::raw(format!(
            "  {}, up {uptime}  pressure ",
            plain(&status.phase)
        )),
        level,
        Span::raw(cause),
    ])
}

fn colour_of(level: &str) -> Color {
    match level {
        "normal" => Color::Green,
        "strained" => Color::Yellow,
        _ => Color::Red,
    }
}

/// Text of a server, which may be any.
fn plain(text: &str) -> String {
    harmless::line(text).into_owned()
}

fn figure_lines(model: &Model, status: &Status) -> Vec<Line<'static>> {
    let figures = model.figures();
    let connections: u64 = status.cores.iter().map(|core| core.connections).sum();
    let millis = |latency: Option<f64>| match latency {
        Some(secs) => format!("{:.2} ms", secs * 1e3),
        None => "-".to_owned(),
    };
    let rate = |bytes_a_second: f64| bytes(bytes_a_second as u64);
    let line = |name: &str, text: String| {
        Line::from(vec![
            Span::styled(format!("{name:<13}"), DIM),
            Span::raw(text),
        ])
    };
    let memory = &status.memory;
    vec![
        line(
            "messages",
            format!("{:>9.1}/s   {}/s", figures.messages, rate(figures.bytes)),
        ),
        line(
            "connections",
            format!(
                "{connections:>9} of {}   {:.1}/s new   {:.1}/s turned away",
                status.limits.connections, figures.connections, figures.refused
            ),
        ),
        line(
            "end of data",
            format!(
                "{:>12} median   {} p99",
                millis(figures.ack[0]),
                millis(figures.ack[1])
            ),
        ),
        line(
            "mail",
            format!(
                "{} {:>10} of {}",
                bar(memory.used, memory.limit),
                bytes(memory.used),
                bytes(memory.limit)
            ),
        ),
        line(
            "process",
            format!(
                "{:>9.2} CPUs   {} resident",
                figures.cpus,
                rate(figures.resident)
            ),
        ),
        line(
            "http",
            format!(
                "{:>9.1}/s   {} connections   {} event streams",
                figures.requests, status.http_connections, status.event_streams
            ),
        ),
    ]
}

/// A bar of twenty cells.
fn bar(used: u64, limit: u64) -> String {
    const CELLS: u64 = 20;
    let full = used
        .saturating_mul(CELLS)
        .checked_div(limit)
        .unwrap_or(0)
        .min(CELLS) as usize;
    format!(
        "[{}{}]",
        "#".repeat(full),
        " ".repeat(CELLS as usize - full)
    )
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let highest = model.history.iter().max().copied().unwrap_or(0);
    let block = Block::new()
        .borders(Borders::TOP)
        .title(format!(" messages a second, {highest} at most "));
    let width = usize::from(area.width);
    let skipped = model.history.len().saturating_sub(width);
    let shown: Vec<u64> = model.history.iter().skip(skipped).copied().collect();
    frame.render_widget(Sparkline::default().block(block).data(shown), area);
}

fn core_table(status: &Status) -> Table<'static> {
    let header = [
        "core",
        "connections",
        "mailboxes",
        "messages",
        "accepted",
        "bytes",
        "waiting",
    ];
    let rows = status.cores.iter().map(|core| {
        Row::new([
            format!("{:>4}", core.core),
            format!("{:>11}", core.connections),
            format!("{:>9}", core.mailboxes),
            format!("{:>8}", core.messages),
            format!("{:>9}", core.accepted),
            format!("{:>10}", bytes(core.accepted_bytes)),
            format!("{:>7}", core.waiting),
        ])
    });
    let widths = [4, 11, 9, 8, 9, 10, 7].map(Constraint::Length);
    let header = header
        .iter()
        .zip([4, 11, 9, 8, 9, 10, 7])
        .map(|(name, width)| format!("{name:>width$}"));
    Table::new(rows, widths)
        .header(Row::new(header).style(DIM))
        .block(Block::new().borders(Borders::TOP))
        .column_spacing(2)
}

fn reject_table(rejects: &[Reject]) -> Table<'static> {
    let rows = rejects.iter().map(|reject| {
        Row::new([
            reject.what.to_owned(),
            plain(&reject.why),
            format!("{:>9.1}/s", reject.rate),
            format!("{:>12}", reject.total),
        ])
    });
    let widths = [
        Constraint::Length(12),
        Constraint::Length(28),
        Constraint::Length(11),
        Constraint::Length(12),
    ];
    Table::new(rows, widths)
        .header(Row::new(["refused", "why", "        now", "       total"]).style(DIM))
        .block(Block::new().borders(Borders::TOP))
        .column_spacing(2)
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{busy, sample};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// What a screen of this size shows.
    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
        terminal.draw(|frame| draw(frame, model)).expect("drawn");
        super::super::text_of(terminal.backend().buffer())
    }

    #[test]
    fn a_busy_server_fits_the_smallest_usual_screen() {
        let expected = "\
mayfly 0.1.0  ready, up 1h 2s  pressure normal
messages        1200.0/s   4.6 MiB/s
connections         81 of 50000   1200.0/s new   120.0/s turned away
end of data       0.50 ms median   0.99 ms p99
mail         [#####               ]  256.0 MiB of 1.0 GiB
process           0.75 CPUs   50.0 MiB resident
http               5.0/s   3 connections   2 event streams

 messages a second, 1200 at most ───────────────────────────────────────────────
 █
▅█
██
██
────────────────────────────────────────────────────────────────────────────────
core  connections  mailboxes  messages   accepted       bytes  waiting
   0           40       1000      1500       1500     5.8 MiB        0
   1           41       1000      1500       1500     5.8 MiB        1
────────────────────────────────────────────────────────────────────────────────
refused       why                                   now         total
recipient     no_such_mailbox                   300.0/s           750
connection    client_rate                       120.0/s           300


q quits
";
        assert_eq!(screen(&busy(), 80, 24), expected);
    }

    #[test]
    fn any_size_can_be_drawn() {
        let mut model = busy();
        let mut hostile = sample(3, 4_000);
        hostile.status.version = "\u{1b}[2J".to_owned();
        hostile.status.pressure.level = "refusing".to_owned();
        hostile.status.pressure.cause = "memory".to_owned();
        hostile.status.cores = vec![hostile.status.cores[0].clone(); 200];
        model.take(hostile);
        model.fail("cannot reach it".to_owned());
        for (width, height) in [(1, 1), (10, 3), (79, 12), (80, 24), (300, 100)] {
            let shown = screen(&model, width, height);
            assert!(!shown.contains('\u{1b}'));
            assert_eq!(shown.lines().count(), usize::from(height));
        }
        let shown = screen(&model, 100, 40);
        assert!(
            shown.contains("pressure refusing (memory)") && shown.ends_with("cannot reach it\n"),
            "{shown}"
        );
        let waiting = screen(&Model::default(), 80, 2);
        assert_eq!(waiting, "asking the server ...\n\n");
    }

    #[test]
    fn a_bar_is_never_longer_than_it_is() {
        assert_eq!(bar(0, 0), format!("[{}]", " ".repeat(20)));
        assert_eq!(bar(5, 4), format!("[{}]", "#".repeat(20)));
    }
}

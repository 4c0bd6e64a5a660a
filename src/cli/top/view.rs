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
/// Rows of a table that are its border and its header.
const TABLE_HEAD: u16 = 2;
/// Rows of the table of what is refused that the table of cores leaves it, as far as it has so many: on a small screen and on others.
const REJECTS_MIN: (u16, u16) = (5, 8);
/// Rows of a page with no core on it: what is usual for a small screen.
const PAGE: u16 = 24;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws a whole screen, whatever its size.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let Some(status) = model.status() else {
        let trouble = model.trouble.as_deref().unwrap_or("asking the server ...");
        frame.render_widget(Paragraph::new(trouble.to_owned()), frame.area());
        return;
    };
    let refused = model.rejects();
    let cores = core_rows(frame.area().height, status.cores.len(), refused.len());
    let [title, figures, curve, table, rejects, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(FIGURES),
        Constraint::Length(CURVE),
        Constraint::Length(cores),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title_line(status), title);
    frame.render_widget(Paragraph::new(figure_lines(model, status)), figures);
    draw_curve(frame, curve, model);
    frame.render_widget(core_table(status, table.height), table);
    frame.render_widget(reject_table(&refused), rejects);
    let foot_line = match &model.trouble {
        Some(trouble) => Line::styled(trouble.clone(), Color::Red),
        None => Line::styled("q quits", DIM),
    };
    frame.render_widget(foot_line, foot);
}

/// The height of a page on which every core is shown.
pub(super) fn page_height(model: &Model) -> u16 {
    let cores = model.status().map_or(0, |status| status.cores.len());
    PAGE.saturating_add(u16::try_from(cores).unwrap_or(u16::MAX))
}

/// The rows that the table of cores has on a screen: all that it needs, as far as enough is left for what is refused.
fn core_rows(screen: u16, cores: usize, rejects: usize) -> u16 {
    let wanted = |rows: usize| {
        let rows = u16::try_from(rows).unwrap_or(u16::MAX);
        rows.saturating_add(TABLE_HEAD)
    };
    // The title and the foot are a row each.
    let left = screen.saturating_sub(FIGURES + CURVE + 2);
    let (least, most) = REJECTS_MIN;
    let for_rejects = wanted(rejects).min((left / 2).clamp(least, most));
    let rows = wanted(cores).min(left.saturating_sub(for_rejects));
    match rows > TABLE_HEAD {
        true => rows,
        false => 0,
    }
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
                "{connections:>9}{}   {:.1}/s new   {:.1}/s turned away",
                out_of(status.limits.connections),
                figures.connections,
                figures.refused
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

/// A limit; 0 is none.
fn out_of(limit: u64) -> String {
    match limit {
        0 => String::new(),
        limit => format!(" of {limit}"),
    }
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

/// The table of cores in so many rows; where they are too few the last says how many cores are not shown.
fn core_table(status: &Status, height: u16) -> Table<'static> {
    let header = [
        "core",
        "connections",
        "mailboxes",
        "messages",
        "accepted",
        "bytes",
        "waiting",
    ];
    let room = usize::from(height.saturating_sub(TABLE_HEAD));
    let cores = status.cores.len();
    let shown = match cores > room {
        true => room.saturating_sub(1),
        false => cores,
    };
    let more = (shown < cores)
        .then(|| Row::new(["   …".to_owned(), format!("{} more", cores - shown)]).style(DIM));
    let rows = status.cores.iter().take(shown).map(|core| {
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
    Table::new(rows.chain(more), widths)
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
    use crate::control::status::CoreStatus;
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

    /// A busy server with so many cores.
    fn with_cores(cores: usize) -> Model {
        let mut model = busy();
        let mut large = sample(3, 4_000);
        large.status.cores = (0..cores as u64)
            .map(|core| CoreStatus {
                core,
                ..large.status.cores[0].clone()
            })
            .collect();
        model.take(large);
        model
    }

    #[test]
    fn reasons_are_shown_however_many_cores_there_are() {
        for cores in [1, 6, 10, 64] {
            let model = with_cores(cores);
            for height in [24, 30, 60, page_height(&model)] {
                let shown = screen(&model, 80, height);
                for why in ["no_such_mailbox", "client_rate"] {
                    assert!(shown.contains(why), "{cores} cores, {height} rows\n{shown}");
                }
            }
        }
    }

    #[test]
    fn cores_that_are_not_shown_are_counted() {
        let shown = screen(&with_cores(64), 80, 24);
        assert!(shown.contains("\n   …  61 more\n"), "{shown}");
        let numbers = |shown: &str| {
            let first = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
            shown.lines().filter_map(first).count()
        };
        assert_eq!(numbers(&shown), 3);
        let model = with_cores(64);
        let page = screen(&model, 80, page_height(&model));
        assert!(!page.contains("more"), "{page}");
        assert_eq!(numbers(&page), 64);
    }

    #[test]
    fn connections_without_a_limit_are_of_none() {
        let mut model = busy();
        let mut unlimited = sample(3, 4_000);
        unlimited.status.limits.connections = 0;
        model.take(unlimited);
        let shown = screen(&model, 80, 24);
        assert!(
            shown.contains("\nconnections         81   1000.0/s new"),
            "{shown}"
        );
    }

    #[test]
    fn a_bar_is_never_longer_than_it_is() {
        assert_eq!(bar(0, 0), format!("[{}]", " ".repeat(20)));
        assert_eq!(bar(5, 4), format!("[{}]", "#".repeat(20)));
    }
}

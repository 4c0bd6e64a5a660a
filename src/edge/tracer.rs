//! One SMTP session in so many, told step by step in the log, without anything that identifies anyone.
//!
//! What a session counts while it is given input or a verdict is its own, for a core does one thing at a time; so the
//! differences of the core's counters around such a call are what happened in it: verbs, reply codes, offences, all of
//! them words of closed lists. No argument of a command and no address can come in here, since none is looked at.
//!
//! Price: a pointer in each session while it is off. A session that is traced has some hundred bytes and reads some
//! forty counters for each piece of input.

use super::core::Core;
use super::tls::Agreed;
use crate::clock::Instant;
use crate::config::sections::Server;
use crate::metrics::{CoreMetrics, Ended, Family, Label, Progress, TlsVersion};
use std::cell::Cell;
use std::fmt::Write as _;

/// Which sessions are traced, and how much is said of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// One session in so many; 0: none.
    one_in: u32,
    /// Lines for each.
    lines_max: u32,
    /// Lines of one core in a second.
    lines_per_second_max: u32,
}

impl Rules {
    /// What the settings say.
    #[must_use]
    pub const fn of(settings: &Server) -> Self {
        Self {
            one_in: settings.trace_sessions_one_in,
            lines_max: settings.trace_lines_max,
            lines_per_second_max: settings.trace_lines_per_second_max,
        }
    }
}

/// What a core has spent on traces.
#[derive(Debug, Default)]
pub(super) struct Spent {
    sessions: Cell<u64>,
    second: Cell<u64>,
    lines: Cell<u32>,
}

impl Spent {
    /// Whether the session that begins is to be traced; its number among this core's.
    fn draw(&self, rules: Rules) -> Option<u64> {
        let number = self.sessions.get();
        self.sessions.set(number + 1);
        let one_in = u64::from(rules.one_in);
        (one_in > 0 && number.is_multiple_of(one_in)).then_some(number)
    }

    /// Whether one line more may be written in this second.
    fn line(&self, rules: Rules, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if self.second.replace(second) != second {
            self.lines.set(0);
        }
        let lines = self.lines.get();
        self.lines.set(lines.saturating_add(1));
        lines < rules.lines_per_second_max
    }
}

/// The trace of a session, if there is one.
pub(super) struct Tracing(Option<Box<Tracer>>);

struct Tracer {
    rules: Rules,
    number: u64,
    began: Instant,
    /// Lines that are said.
    lines: u32,
    /// Lines that were too many.
    left_out: u64,
    /// What happened since the last line.
    happened: Happened,
}

/// What happened in a session.
#[derive(Default)]
struct Happened {
    commands: Tally,
    replies: Tally,
    offences: Tally,
    /// Bytes received.
    received: u64,
}

impl Tracing {
    /// For a session that begins.
    pub(super) fn begin(core: &Core) -> Self {
        let rules = core.live().trace;
        if rules.one_in == 0 {
            return Self(None);
        }
        let began = core.now();
        Self(core.spent.draw(rules).map(|number| {
            Box::new(Tracer {
                rules,
                number,
                began,
                lines: 0,
                left_out: 0,
                happened: Happened::default(),
            })
        }))
    }

    /// Notes what `act` counts. It must be this session's alone: nothing may be awaited in it.
    pub(super) fn watch<T>(&mut self, metrics: &CoreMetrics, act: impl FnOnce() -> T) -> T {
        let Some(tracer) = &mut self.0 else {
            return act();
        };
        let before = Counts::of(metrics);
        let result = act();
        tracer.happened.add(&before, metrics);
        result
    }

    /// Notes that input was used up.
    pub(super) fn received(&mut self, bytes: usize) {
        if let Some(tracer) = &mut self.0 {
            tracer.happened.received += bytes as u64;
        }
    }

    /// Replies go out; tells what led to them.
    pub(super) fn sends(&mut self, core: &Core, stage: Option<Progress>, bytes: usize) {
        let Some((trace, after_ms, happened)) = self.line(core) else {
            return;
        };
        let Happened {
            commands,
            replies,
            offences,
            received,
        } = happened;
        let stage = stage.map_or("ending", |stage| Progress::VALUES[stage.index()]);
        let [commands, replies, offences] = [commands, replies, offences].map(Tally::shown);
        tracing::info!(
            core = core.id().0,
            trace,
            after_ms,
            stage,
            commands,
            replies,
            offences,
            received,
            sent = bytes,
            "traced session: exchange"
        );
    }

    /// A handshake was made.
    pub(super) fn shook_hands(&mut self, core: &Core, agreed: &Agreed) {
        if let Some((trace, after_ms, _)) = self.line(core) {
            let version = TlsVersion::VALUES[agreed.version.index()];
            tracing::info!(
                core = core.id().0,
                trace,
                after_ms,
                version,
                resumed = agreed.resumed,
                "traced session: TLS"
            );
        }
    }

    /// A message is complete.
    pub(super) fn completes(&mut self, core: &Core, bytes: u64, recipients: usize) {
        if let Some((trace, after_ms, _)) = self.line(core) {
            tracing::info!(
                core = core.id().0,
                trace,
                after_ms,
                bytes,
                recipients,
                "traced session: message"
            );
        }
    }

    /// It is over.
    pub(super) fn ends(&mut self, core: &Core, how: Ended) {
        if let Some(tracer) = &mut self.0 {
            // The last word does not count among a session's lines.
            tracer.lines = 0;
        }
        let left_out = self.0.as_ref().map_or(0, |tracer| tracer.left_out);
        if let Some((trace, after_ms, _)) = self.line(core) {
            let how = Ended::VALUES[how.index()];
            tracing::info!(
                core = core.id().0,
                trace,
                after_ms,
                how,
                left_out,
                "traced session: end"
            );
        }
    }

    /// Whether a line may be written: the session's number, milliseconds since it began, and what happened.
    fn line(&mut self, core: &Core) -> Option<(u64, u64, Happened)> {
        let tracer = self.0.as_mut()?;
        let now = core.exact_now();
        let happened = std::mem::take(&mut tracer.happened);
        if tracer.lines >= tracer.rules.lines_max || !core.spent.line(tracer.rules, now) {
            tracer.left_out += 1;
            return None;
        }
        tracer.lines += 1;
        let after = now.since(tracer.began).as_millis();
        Some((
            tracer.number,
            u64::try_from(after).unwrap_or(u64::MAX),
            happened,
        ))
    }
}

/// The core's counters at a moment.
struct Counts {
    commands: Vec<u64>,
    replies: Vec<u64>,
    offences: Vec<u64>,
}

impl Counts {
    fn of(metrics: &CoreMetrics) -> Self {
        fn values<L: Label>(family: &Family<L>) -> Vec<u64> {
            family.values().map(|(_, value)| value).collect()
        }
        Self {
            commands: values(&metrics.smtp_commands),
            replies: values(&metrics.smtp_replies),
            offences: values(&metrics.smtp_offences),
        }
    }
}

impl Happened {
    fn add(&mut self, before: &Counts, metrics: &CoreMetrics) {
        self.commands.add(&before.commands, &metrics.smtp_commands);
        self.replies.add(&before.replies, &metrics.smtp_replies);
        self.offences.add(&before.offences, &metrics.smtp_offences);
    }
}

/// Words of a closed list, and how often each. In the order of the list: what came together has no other.
#[derive(Default)]
struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    fn add<L: Label>(&mut self, before: &[u64], family: &Family<L>) {
        for ((word, now), before) in family.values().zip(before) {
            let grown = now.wrapping_sub(*before);
            if grown == 0 {
                continue;
            }
            match self.0.iter_mut().find(|(known, _)| *known == word) {
                Some((_, count)) => *count += grown,
                None => self.0.push((word, grown)),
            }
        }
    }

    /// `mail rcpt*3 data`
    fn shown(self) -> String {
        let mut text = String::new();
        for (word, count) in self.0 {
            let space = if text.is_empty() { "" } else { " " };
            let _ = match count {
                1 => write!(text, "{space}{word}"),
                count => write!(text, "{space}{word}*{count}"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Command, ReplyCode};

    const RULES: Rules = Rules {
        one_in: 3,
        lines_max: 10,
        lines_per_second_max: 2,
    };

    #[test]
    fn one_session_in_so_many_is_drawn() {
        let spent = Spent::default();
        let drawn: Vec<_> = (0..7).filter_map(|_| spent.draw(RULES)).collect();
        assert_eq!(drawn, [0, 3, 6]);
        assert_eq!(spent.draw(Rules::default()), None);
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let spent = Spent::default();
        let lines = |secs| {
            let now = Instant::from_secs(secs);
            [(); 4].map(|()| spent.line(RULES, now))
        };
        assert_eq!(lines(7), [true, true, false, false]);
        assert_eq!(lines(8), [true, true, false, false]);
    }

    #[test]
    fn what_was_counted_before_is_not_this_sessions() {
        let metrics = CoreMetrics::default();
        metrics.smtp_commands.of(Command::Quit).add(5);
        let mut tracing = Tracing(Some(Box::new(Tracer {
            rules: RULES,
            number: 0,
            began: Instant::ZERO,
            lines: 0,
            left_out: 0,
            happened: Happened::default(),
        })));
        tracing.watch(&metrics, || {
            metrics.smtp_commands.of(Command::Rcpt).add(2);
            metrics.smtp_commands.of(Command::Mail).increment();
            metrics.smtp_replies.of(ReplyCode::R250).add(3);
        });
        metrics.smtp_commands.of(Command::Noop).increment();
        tracing.watch(&metrics, || {
            metrics.smtp_commands.of(Command::Rcpt).increment()
        });
        let happened = tracing.0.expect("it is traced").happened;
        assert_eq!(happened.commands.shown(), "mail rcpt*3");
        assert_eq!(
            (happened.replies.shown(), happened.offences.shown()),
            ("250*3".to_owned(), String::new())
        );
    }
}

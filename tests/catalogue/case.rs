//! One row of the catalogue: what a client says, what it waits for, and what must be stored then.
//!
//! A case is played with each thing that the client says in one write, in single bytes, and cut in
//! two at every place. The replies, to the byte, and the mailboxes must be the same each time.

use crate::harness::Conversation;
use crate::house::{House, Stored};
use mayfly::clock::Instant;
use mayfly::settings::Bytes;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{Extensions, Limits};
use mayfly::store::Budget;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Up to here it is cut at every place; in something longer at places that lie far apart, and at
/// every one near its ends.
const CUT_EVERYWHERE_BYTES_MAX: usize = 700;

/// Up to here it is also said in single bytes; what is longer is cut only where it may matter most.
const SINGLE_BYTES_MAX: usize = 200_000;

/// How often a case is played at most.
const CUTS_MAX: usize = 2000;

/// A row, or one of its cases.
#[derive(Clone)]
pub(crate) struct Case {
    steps: Vec<Step>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug)]
enum Step {
    /// The client says this and waits for replies that begin so.
    Say(Vec<u8>, Vec<String>),
    /// The same, in one segment.
    SayAtOnce(Vec<u8>, Vec<String>),
    /// Time passes; then there are these replies.
    Pass(Duration, Vec<String>),
}

/// How what the client says is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    SingleBytes,
    /// One step, in two.
    At(usize, usize),
}

impl Case {
    /// Before EHLO, at the greeting.
    pub(crate) fn connect() -> Self {
        Self {
            steps: Vec::new(),
            limits: Limits::default(),
            budget: Budget::default(),
            extensions: Extensions::ALL,
        }
        .say(b"", "220")
    }

    /// The catalogue's OPEN.
    pub(crate) fn open() -> Self {
        Self::connect().say(b"EHLO t.example\r\n", "250")
    }

    /// The catalogue's TXN, behind OPEN.
    pub(crate) fn transaction() -> Self {
        Self::open()
            .say(b"MAIL FROM:<s@x.example>\r\n", "250")
            .say(b"RCPT TO:<u1@ours.test>\r\n", "250")
    }

    /// TXN and DATA, up to the 354.
    pub(crate) fn data() -> Self {
        Self::transaction().say(b"DATA\r\n", "354")
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The client says this; the replies begin with these, which commas separate. `closed` at the
    /// end means that the connection is closed then. All replies are awaited before the next step.
    pub(crate) fn say(mut self, bytes: impl AsRef<[u8]>, replies: &str) -> Self {
        let step = Step::Say(bytes.as_ref().to_vec(), split(replies));
        self.steps.push(step);
        self
    }

    /// As [`Case::say`], and it comes in one segment in any case: cut in two it would mean something else.
    pub(crate) fn say_at_once(mut self, bytes: impl AsRef<[u8]>, replies: &str) -> Self {
        let step = Step::SayAtOnce(bytes.as_ref().to_vec(), split(replies));
        self.steps.push(step);
        self
    }

    /// Nothing is said for a while.
    pub(crate) fn pass(mut self, time: Duration, replies: &str) -> Self {
        self.steps.push(Step::Pass(time, split(replies)));
        self
    }

    /// The catalogue's VERIFY: both sides agree where they are.
    pub(crate) fn verify(self) -> Self {
        self.say(b"RSET\r\n", "250 2.0.0")
            .say(b"NOOP\r\n", "250 2.0.0")
    }

    /// Plays it in every way. In the end the mailboxes hold exactly these messages: mailbox,
    /// reverse-path, content.
    #[track_caller]
    pub(crate) fn stored(self, expected: &[(&str, &str, &[u8])]) {
        let expected: Vec<Stored> = expected
            .iter()
            .map(|(mailbox, from, content)| Stored {
                mailbox: (*mailbox).to_owned(),
                from: (*from).to_owned(),
                content: content.to_vec(),
            })
            .collect();
        let mut first = None;
        for cut in self.cuts() {
            let (replies, stored) = self.play(cut);
            assert_eq!(shown(&stored), shown(&expected), "{cut:?}\n{replies}");
            assert!(stored == expected, "{cut:?}: long contents differ");
            let whole = first.get_or_insert_with(|| replies.clone());
            assert_eq!(*whole, replies, "{cut:?}: the replies differ");
        }
    }

    fn cuts(&self) -> Vec<Cut> {
        let is_flood = self.bytes() > SINGLE_BYTES_MAX;
        let mut cuts = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let Step::Say(bytes, _) = step else { continue };
            let len = bytes.len();
            let near = CUT_EVERYWHERE_BYTES_MAX / 20;
            let sparse = len.div_ceil(10).max(1);
            let places = (1..len).filter(|at| {
                let at_an_end = *at < near || len - at < near;
                match is_flood {
                    true => len > CUT_EVERYWHERE_BYTES_MAX && len - at < 3,
                    false => {
                        len <= CUT_EVERYWHERE_BYTES_MAX || at_an_end || at.is_multiple_of(sparse)
                    }
                }
            });
            cuts.extend(places.map(|at| Cut::At(index, at)));
        }
        // Of a great many steps not each can be cut at each place.
        let thinned = cuts.len().div_ceil(CUTS_MAX).max(1);
        let more = if is_flood {
            None
        } else {
            Some(Cut::SingleBytes)
        };
        [Cut::Whole]
            .into_iter()
            .chain(more)
            .chain(cuts.into_iter().step_by(thinned))
            .collect()
    }

    /// Plays it once; returns the replies and what is stored.
    #[track_caller]
    fn play(&self, cut: Cut) -> (String, Vec<Stored>) {
        let mut table = Table::new(self);
        for (index, step) in self.steps.iter().enumerate() {
            let (before, expected) = match step {
                Step::Say(bytes, expected) => {
                    let size = match cut {
                        Cut::SingleBytes => 1,
                        Cut::At(step, at) if step == index => at,
                        Cut::Whole | Cut::At(..) => bytes.len(),
                    };
                    // The second piece is what is left, whatever its size.
                    let mut next = Some(size);
                    let size = match cut {
                        Cut::SingleBytes => 1,
                        Cut::Whole | Cut::At(..) => usize::MAX,
                    };
                    let before = table.conversation.output.len();
                    table.hear(bytes, || next.take().unwrap_or(size));
                    (before, expected)
                }
                Step::SayAtOnce(bytes, expected) => {
                    let before = table.conversation.output.len();
                    table.hear(bytes, || usize::MAX);
                    (before, expected)
                }
                Step::Pass(time, expected) => {
                    let before = table.conversation.output.len();
                    table.conversation.pass(*time);
                    table.hear(b"", || 1);
                    (before, expected)
                }
            };
            let mut heard = replies(&table.conversation.output[before..]);
            if table.conversation.ended.is_some() {
                heard.push("closed".to_owned());
            }
            let fits = heard.len() == expected.len()
                && heard
                    .iter()
                    .zip(expected)
                    .all(|(it, start)| it.starts_with(start.as_str()));
            assert!(
                fits,
                "{cut:?}, step {index}: expected {expected:?}, heard {heard:#?}"
            );
        }
        table.end()
    }

    /// Plays the beginning of it, up to so many bytes; then the client is gone. Returns what is
    /// stored.
    pub(crate) fn cut_off_after(&self, bytes_max: usize) -> Vec<Stored> {
        let mut table = Table::new(self);
        let mut left = bytes_max;
        for step in &self.steps {
            if let Step::Say(bytes, _) = step {
                let said = bytes.len().min(left);
                left -= said;
                table.hear(&bytes[..said], || usize::MAX);
            }
        }
        table.end().1
    }

    /// How many bytes the client says.
    pub(crate) fn bytes(&self) -> usize {
        let said = self.steps.iter().map(|step| match step {
            Step::Say(bytes, _) | Step::SayAtOnce(bytes, _) => bytes.len(),
            Step::Pass(..) => 0,
        });
        said.sum()
    }

    /// The most memory that is in use at the end of any step.
    pub(crate) fn memory_used_max(&self) -> u64 {
        let mut table = Table::new(self);
        let mut most = 0;
        for step in &self.steps {
            if let Step::Say(bytes, _) = step {
                table.hear(bytes, || 64 << 10);
                most = most.max(table.house.used());
            }
        }
        most
    }
}

/// A client and a house.
struct Table {
    conversation: Conversation<crate::house::Held>,
    house: House,
}

impl Table {
    fn new(case: &Case) -> Self {
        let now = Instant::from_secs(1);
        let profile = Profile {
            hostname: "mx.test".into(),
            extensions: case.extensions,
            xclient: false,
            tls: false,
            limits: Arc::new(case.limits.clone()),
            message_bytes_max_normally: case.limits.message_bytes_max,
        };
        Self {
            conversation: Conversation::new(profile, now),
            house: House::new(&case.budget, now),
        }
    }

    fn hear(&mut self, bytes: &[u8], next_size: impl FnMut() -> usize) {
        let now = self.conversation.now;
        let house = &mut self.house;
        self.conversation
            .hear(bytes, next_size, |question| house.decide(question, now));
    }

    fn end(self) -> (String, Vec<Stored>) {
        let Conversation {
            session,
            output,
            now,
            ..
        } = self.conversation;
        drop(session);
        let mut house = self.house;
        let stored = house.stored(now);
        house.close(now);
        (String::from_utf8(output).expect("replies are text"), stored)
    }
}

fn split(replies: &str) -> Vec<String> {
    replies
        .split(',')
        .map(|reply| reply.trim().to_owned())
        .filter(|reply| !reply.is_empty())
        .collect()
}

/// The replies in this output, each with all its lines; the last line of each must be whole.
fn replies(output: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(output).expect("replies are text");
    let mut replies = Vec::new();
    let mut reply = String::new();
    for line in text.split_inclusive("\r\n") {
        let code = line.len() >= 6 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
        assert!(code && line.ends_with("\r\n"), "no reply: {line:?}");
        assert!(line.len() <= 512, "RFC 5321 section 4.5.3.1.5: {line:?}");
        assert!(
            line[..line.len() - 2]
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~')),
            "{line:?}"
        );
        reply.push_str(line);
        if line.as_bytes()[3] != b'-' {
            replies.push(std::mem::take(&mut reply));
        }
    }
    assert!(reply.is_empty(), "half a reply: {reply:?}");
    replies
}

/// Messages as a failed test shows them.
fn shown(messages: &[Stored]) -> String {
    let mut out = String::new();
    for Stored {
        mailbox,
        from,
        content,
    } in messages
    {
        let start = content[..content.len().min(400)].escape_ascii();
        let _ = writeln!(
            out,
            "{mailbox} from <{from}>, {} bytes: {start}",
            content.len()
        );
    }
    out
}

/// The catalogue's hexadecimal notation.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| {
        let digit = char::from(byte).to_digit(16).expect("hexadecimal digits");
        u8::try_from(digit).expect("small")
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{text}: half a byte");
    pairs
        .iter()
        .map(|[high, low]| digit(*high) << 4 | digit(*low))
        .collect()
}

/// A limit in bytes.
pub(crate) const fn bytes(count: u64) -> Bytes {
    Bytes(count)
}

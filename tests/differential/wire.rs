//! One connection: plays a case and notes what the server did.

use crate::script::Case;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a reply may take. Who says nothing for so long says nothing.
const REPLY_WAIT: Duration = Duration::from_secs(2);
/// How long a server may go on by itself before it is told to QUIT: replies that nobody awaited come in this time.
const QUIET_WAIT: Duration = Duration::from_millis(100);
/// How long a greeting may take, and the end of a connection on which nothing more will come from us.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection stood when its case was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// QUIT was answered.
    Open,
    /// The server had closed it.
    Closed,
    /// QUIT was not taken for a command.
    QuitLost,
}

/// What a server did in one case.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// The code of each reply, that to QUIT excepted.
    pub(crate) codes: Vec<String>,
    pub(crate) end: End,
    /// All that was said, for people.
    pub(crate) protocol: String,
}

struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    ended: bool,
    protocol: String,
}

/// Plays a case; nothing comes back when the server does not offer what the case needs.
pub(crate) fn play(to: SocketAddr, case: &Case) -> Option<Heard> {
    let stream = TcpStream::connect(to).expect("connected");
    stream.set_nodelay(true).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    let mut wire = Wire {
        stream,
        unread: Vec::new(),
        ended: false,
        protocol: String::new(),
    };
    wire.reply(PATIENCE).expect("a greeting");
    for segment in &case.setup {
        wire.send(&segment.bytes);
        let code = wire.reply(PATIENCE);
        let went_well = code
            .as_ref()
            .is_some_and(|code| code.starts_with(['2', '3']));
        assert!(
            went_well,
            "{}: the case cannot begin:\n{}",
            case.name, wire.protocol
        );
        if let Some(extension) = &case.needs
            && segment.bytes.starts_with(b"EHLO")
            && !wire.offers(extension)
        {
            return None;
        }
    }
    let mut codes = Vec::new();
    for segment in &case.steps {
        wire.send(&segment.bytes);
        for _ in 0..segment.replies {
            let Some(code) = wire.reply(REPLY_WAIT) else {
                break;
            };
            codes.push(code);
        }
    }
    while let Some(code) = wire.reply(QUIET_WAIT) {
        codes.push(code);
    }
    let end = wire.quit(&mut codes);
    Some(Heard {
        codes,
        end,
        protocol: wire.protocol,
    })
}

impl Wire {
    /// Whether the answer to EHLO, which has just come, names an extension.
    fn offers(&self, extension: &str) -> bool {
        let mut lines = self.protocol.lines();
        lines.any(|line| {
            let named = line.strip_prefix("  S: 250").and_then(|rest| rest.get(1..));
            named.is_some_and(|named| named.starts_with(extension))
        })
    }

    fn send(&mut self, bytes: &[u8]) {
        let _ = writeln!(self.protocol, "  C: {}", shown(bytes));
        // The server may have closed, which the next reply will tell.
        let _ = self.stream.write_all(bytes);
    }

    /// The code of the next reply; nothing if none comes in time or the connection has ended.
    fn reply(&mut self, wait: Duration) -> Option<String> {
        let deadline = Instant::now() + wait;
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let _ = writeln!(self.protocol, "  S: {}", shown(&line));
                if line.get(3) != Some(&b'-') {
                    let code = &line[..line.len().min(3)];
                    return Some(String::from_utf8_lossy(code).into_owned());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.ended || left.is_zero() {
                return None;
            }
            self.read(left);
        }
    }

    fn read(&mut self, wait: Duration) {
        let mut buffer = [0; 4096];
        self.stream.set_read_timeout(Some(wait)).expect("set");
        match self.stream.read(&mut buffer) {
            Ok(read) if read > 0 => self.unread.extend_from_slice(&buffer[..read]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => {
                self.ended = true;
                self.protocol.push_str("  S: (closes)\n");
            }
        }
    }

    /// Ends the session; tells from the answer how it stood. What comes after we have closed our side is not an answer.
    fn quit(&mut self, codes: &mut Vec<String>) -> End {
        if self.ended {
            return End::Closed;
        }
        self.send(b"QUIT\r\n");
        let mut end = End::QuitLost;
        while let Some(code) = self.reply(REPLY_WAIT) {
            if code == "221" {
                end = End::Open;
                break;
            }
            codes.push(code);
        }
        if end == End::QuitLost && self.ended {
            end = End::Closed;
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.reply(PATIENCE).is_some() {}
        assert!(self.ended, "it never closes:\n{}", self.protocol);
        end
    }
}

/// Bytes for people, and not too many.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    match bytes.len() {
        all if all > MOST => format!("{text}... ({all} bytes)"),
        _ => text,
    }
}

//! Server-sent events, read (HTML Living Standard, section 9.2.6).

use std::time::Duration;

/// The longest event that is read, in bytes. mayfly's are below a hundredth of that.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its kind.
    pub(super) name: String,
    /// What it says.
    pub(super) data: String,
    /// Its place in the stream.
    pub(super) id: Option<String>,
}

/// The stream holds what no stream of events holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Makes events of bytes, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The line that has begun.
    line: Vec<u8>,
    /// Whether the last byte was a CR, which may be half of a CR LF.
    after_cr: bool,
    event: Event,
    /// The last id that came with an event: what to go on from.
    pub(super) last_id: Option<String>,
    /// How long to wait before coming back, if the server has said so.
    pub(super) retry: Option<Duration>,
}

impl Reader {
    /// Goes on after this event.
    pub(super) fn from(last_id: String) -> Self {
        Self {
            last_id: Some(last_id),
            ..Self::default()
        }
    }

    /// Takes bytes; gives the events that are complete with them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Malformed> {
        let mut events = Vec::new();
        for byte in bytes {
            let ends_line = match byte {
                b'\n' if self.after_cr => {
                    self.after_cr = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_cr = *byte == b'\r';
            if ends_line {
                events.extend(self.end_line()?);
                continue;
            }
            if self.line.len() + self.event.data.len() >= EVENT_BYTES_MAX {
                return Err(Malformed("an event is too long"));
            }
            self.line.push(*byte);
        }
        Ok(events)
    }

    /// The connection is gone: what was begun will come again.
    pub(super) fn reconnect(&mut self) {
        self.line.clear();
        self.after_cr = false;
        self.event = Event::default();
    }

    fn end_line(&mut self) -> Result<Option<Event>, Malformed> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| Malformed("an event is not UTF-8"))?;
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            // An id counts when its event is complete, and for those behind it that have none.
            if let Some(id) = event.id.take() {
                self.last_id = Some(id);
            }
            event.id.clone_from(&self.last_id);
            // Without data it is none, says the standard.
            return Ok(Some(event)
                .filter(|event| !event.data.is_empty())
                .map(finished));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event.name),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => {
                if let Ok(millis) = value.parse() {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // A comment, or what is not known here.
            _ => {}
        }
        Ok(None)
    }
}

/// The line end behind the last line of data is no part of it.
fn finished(mut event: Event) -> Event {
    event.data.pop();
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "retry: 3000\n\n:\n\nevent: message\nid: 3\ndata: {\"id\":\"3\"}\n\n: sign of life\n\nevent: removed\r\nid: 4\r\ndata: a\r\ndata: b\r\n\r\nid: 5\n\nevent: closed\rid: 6\rdata: {}\r\r";

    fn expected() -> Vec<Event> {
        [
            ("message", "{\"id\":\"3\"}", "3"),
            ("removed", "a\nb", "4"),
            ("closed", "{}", "6"),
        ]
        .map(|(name, data, id)| Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: Some(id.to_owned()),
        })
        .into()
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                events.extend(reader.take(piece).expect("well-formed"));
            }
            assert_eq!(events, expected(), "pieces of {size}");
            assert_eq!(reader.last_id.as_deref(), Some("6"));
            assert_eq!(reader.retry, Some(Duration::from_secs(3)));
        }
    }

    #[test]
    fn half_an_event_is_forgotten_with_its_connection_and_its_place_is_not() {
        let mut reader = Reader::default();
        let events = reader.take(b"id: 1\ndata: x\n\nid: 2\ndata: lost");
        assert_eq!(events.map(|events| events.len()), Ok(1));
        reader.reconnect();
        let events = reader.take(b"data: again\n\n").expect("well-formed");
        assert_eq!(events[0].data, "again");
        assert_eq!(reader.last_id.as_deref(), Some("1"));
    }

    #[test]
    fn what_is_no_stream_of_events_is_refused_and_nothing_grows() {
        let mut reader = Reader::default();
        let line = vec![b'x'; EVENT_BYTES_MAX + 1];
        assert_eq!(reader.take(&line), Err(Malformed("an event is too long")));
        let mut reader = Reader::default();
        let many = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(reader.take(&many), Err(Malformed("an event is too long")));
        let mut reader = Reader::default();
        assert!(reader.take(b"data: \xff\n").is_err());
    }
}

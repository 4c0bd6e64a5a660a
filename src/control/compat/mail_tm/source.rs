//! The source of a message as a text in JSON, written while it is read: a copy of it, escaped, could be six times as large.

use super::format::{Format, Kind};
use crate::control::app::App;
use crate::control::reading::BYTES_A_SECOND_MIN;
use crate::mail::Message;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a message that are written at a time.
const PIECE_BYTES: usize = 16 << 10;

/// What stands before the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    #[serde(flatten)]
    linked: Option<super::format::Linked>,
    id: &'a str,
    download_url: String,
}

/// The source of a message, whose bytes need not be text: what is none is replaced.
pub(super) fn answer(app: &App, id: &str, format: Format, message: Arc<Message>) -> Response<Body> {
    let view = Source {
        linked: format.linked(Kind::Source, id),
        id,
        download_url: format!("/messages/{id}/download"),
    };
    let mut begins = serde_json::to_string(&view).expect("a view has text keys only");
    begins.pop();
    begins.push_str(",\"data\":\"");
    let time = app.settings.load().http.request_timeout.0
        + Duration::from_secs(message.body.len() as u64 / BYTES_A_SECOND_MIN);
    let body = Body::from_stream(Written {
        message,
        begins: Some(begins),
        segment: 0,
        at: 0,
        escape: Escape::default(),
        is_over: false,
        deadline: Instant::now() + time,
    });
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, format.media_type()),
        (header::VARY, "accept"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Writes a body down piece by piece.
struct Written {
    message: Arc<Message>,
    begins: Option<String>,
    /// The segment of the body that is written, and how far.
    segment: usize,
    at: usize,
    escape: Escape,
    is_over: bool,
    deadline: Instant,
}

impl Written {
    fn next(&mut self) -> Option<String> {
        if let Some(begins) = self.begins.take() {
            return Some(begins);
        }
        if self.is_over {
            return None;
        }
        let Some(segment) = self.message.body.segments().nth(self.segment) else {
            self.is_over = true;
            return Some(self.escape.finish() + "\"}");
        };
        let end = segment.len().min(self.at + PIECE_BYTES);
        let piece = self.escape.push(&segment[self.at..end]);
        self.at = end;
        if end == segment.len() {
            self.segment += 1;
            self.at = 0;
        }
        Some(piece)
    }
}

impl tokio_stream::Stream for Written {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Instant::now() > self.deadline {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        Poll::Ready(self.next().map(|piece| Ok(Bytes::from(piece))))
    }
}

/// Makes JSON text of bytes that come in pieces; a character may lie across two.
#[derive(Default)]
struct Escape {
    /// The beginning of a character whose end has not come.
    begun: Vec<u8>,
}

impl Escape {
    fn push(&mut self, bytes: &[u8]) -> String {
        let mut rest = std::mem::take(&mut self.begun);
        rest.extend_from_slice(bytes);
        let mut text = String::with_capacity(rest.len());
        for chunk in rest.utf8_chunks() {
            escape(chunk.valid(), &mut text);
            if chunk.invalid().is_empty() {
                continue;
            }
            let is_last = std::ptr::eq(chunk.invalid().as_ptr_range().end, rest.as_ptr_range().end);
            if is_last && may_go_on(chunk.invalid()) {
                self.begun = chunk.invalid().to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    fn finish(&mut self) -> String {
        match std::mem::take(&mut self.begun).is_empty() {
            true => String::new(),
            false => char::REPLACEMENT_CHARACTER.to_string(),
        }
    }
}

/// Whether more bytes could make a character of these.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|why| why.error_len().is_none())
}

/// Writes text as it stands inside of the quotation marks of JSON (RFC 8259 section 7).
fn escape(text: &str, into: &mut String) {
    let quoted = serde_json::to_string(text).expect("a text can be quoted");
    into.push_str(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_reads_like_the_whole() {
        let whole = b"Subject: \"x\"\r\n\t\\ \0 \x1f \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\x9d \xff\xc3 \xe2\x82 \xf0\x9f\x90";
        let wanted = String::from_utf8_lossy(whole);
        for size in 1..=whole.len() {
            let mut escape = Escape::default();
            let mut written = String::from("\"");
            for piece in whole.chunks(size) {
                written += &escape.push(piece);
            }
            written += &escape.finish();
            written.push('"');
            let read: String = serde_json::from_str(&written).expect("JSON");
            assert_eq!(read, wanted, "in pieces of {size}");
        }
    }
}

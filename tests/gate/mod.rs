//! The gate in front of hyper, without sockets, and what must hold of it for arbitrary input.

#[path = "../../src/control/framing.rs"]
#[allow(
    clippy::module_inception,
    dead_code,
    reason = "it is a part of the control plane, and tested there"
)]
mod framing;

use framing::{Framing, HeadLimits, Step};

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 512,
    fields_max: 16,
};

/// What was let through.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    /// Where each head begins and ends.
    heads: Vec<(usize, usize)>,
    /// How many bytes of the input passed.
    bytes: usize,
    is_refused: bool,
}

/// Whether a head says that so many bytes follow it.
fn announces_body(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.any(|(name, value)| name == "content-length" && value.trim() != "0")
}

/// Has `input` come in pieces of these sizes, as `control/wire.rs` does.
fn let_through(input: &[u8], mut next_size: impl FnMut() -> usize) -> Passed {
    let mut framing = Framing::new(LIMITS);
    let mut passed = Passed::default();
    let (mut received, mut left) = (Vec::new(), input);
    let mut allowed = 0_u64;
    let mut body_is_due = false;
    loop {
        let taken = received
            .len()
            .min(usize::try_from(allowed).unwrap_or(usize::MAX));
        received.drain(..taken);
        passed.bytes += taken;
        allowed -= taken as u64;
        if allowed == 0 && !received.is_empty() {
            match framing.step(&received) {
                Step::Pass(bytes) => {
                    allowed = bytes;
                    if std::mem::take(&mut body_is_due) {
                        continue;
                    }
                    // Only a body goes beyond what has come, unless nothing but it will come.
                    if let Some(head) = received.get(..usize::try_from(bytes).unwrap_or(usize::MAX))
                    {
                        passed.heads.push((passed.bytes, passed.bytes + head.len()));
                        body_is_due = announces_body(head);
                    }
                    continue;
                }
                Step::Refuse(_) => {
                    passed.is_refused = true;
                    return passed;
                }
                Step::More => {}
            }
        }
        if left.is_empty() {
            return passed;
        }
        let piece;
        (piece, left) = left.split_at(next_size().clamp(1, left.len()));
        received.extend_from_slice(piece);
    }
}

/// Fuzz body: what passes does not depend on the segmentation, and hyper's parser reads each head as the gate has read it.
pub(crate) fn fuzz_http(data: &[u8]) {
    let (sizes, input) = data.split_at(data.len().min(2));
    let size = |nth: usize| usize::from(sizes.get(nth).copied().unwrap_or_default() % 40);
    let mut turn = 0;
    let whole = let_through(input, || usize::MAX);
    let pieces = let_through(input, || {
        turn += 1;
        size(turn % 2)
    });
    assert_eq!(whole, pieces);
    assert_eq!(whole, let_through(input, || 1));
    for (nth, (start, end)) in whole.heads.iter().enumerate() {
        let head = &input[*start..*end];
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields_max];
        let mut request = httparse::Request::new(&mut fields);
        // What hyper does not take ends the connection, and does no harm.
        let Ok(status) = request.parse(head) else {
            continue;
        };
        assert_eq!(
            status,
            httparse::Status::Complete(head.len()),
            "it ends elsewhere"
        );
        let values = |name: &str| {
            let named = request.headers.iter();
            let named = named.filter(|it| it.name.eq_ignore_ascii_case(name));
            named.map(|it| it.value.to_vec()).collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1 && values("host").len() <= 1);
        if let Some(coding) = codings.first() {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            assert_eq!(nth + 1, whole.heads.len(), "what is chunked is the last");
            assert_eq!(whole.bytes, input.len(), "and all of the rest is its own");
        }
        if let Some((next, _)) = whole.heads.get(nth + 1) {
            let length = lengths.first().map_or(Ok(0), |text| {
                std::str::from_utf8(text).expect("digits").parse::<usize>()
            });
            assert_eq!(Ok(next - end), length, "the next request begins elsewhere");
        }
    }
}

//! The data of a message, read from the text of RFC 5321 sections 4.1.1.4 and 4.5.2.

use mayfly::smtp::data::DataOffence;

/// What a message's data comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    pub(crate) content: Vec<u8>,
    /// The offence that comes first.
    pub(crate) offence: Option<DataOffence>,
    /// What stands behind the end.
    pub(crate) rest: &'a [u8],
}

/// Reads data whose end must be there; `None` if it is not.
pub(crate) fn data(input: &[u8]) -> Option<Data<'_>> {
    let mut content = Vec::new();
    let mut rest = input;
    loop {
        // "Lines consist of zero or more data characters terminated by the sequence CRLF."
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, behind) = rest.split_at(end);
        rest = &behind[2..];
        // "If the line is composed of a single period, it is treated as the end of mail indicator."
        if line == b"." {
            break;
        }
        // "If the first character is a period and there are other characters on the line, the first
        // character is deleted."
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        content.extend_from_slice(b"\r\n");
    }
    Some(Data {
        offence: first_offence(&content),
        content,
        rest,
    })
}

/// "The CR and LF characters MUST NOT appear alone"; a message has no NUL (RFC 5322 section 4).
fn first_offence(content: &[u8]) -> Option<DataOffence> {
    // A dot that was taken away left no CR or LF behind that would pair up anew: a bare CR before a dot
    // would have to be at the start of its line.
    content
        .iter()
        .enumerate()
        .find_map(|(at, byte)| match byte {
            b'\0' => Some(DataOffence::NulByte),
            b'\r' if content.get(at + 1) != Some(&b'\n') => Some(DataOffence::BareNewline),
            b'\n' if at == 0 || content[at - 1] != b'\r' => Some(DataOffence::BareNewline),
            _ => None,
        })
}

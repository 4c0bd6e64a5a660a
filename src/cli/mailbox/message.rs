//! Messages as the API shows them, for people.

use crate::cli::harmless;
use crate::cli::output::{Ink, Terminal};
use serde_json::Value;
use std::fmt::Write as _;

/// A sender or recipient: `Name <address>`.
pub(super) fn person(person: &Value) -> String {
    let text = |name: &str| person[name].as_str().map(harmless::line);
    match (text("name"), text("address")) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (Some(one), None) | (None, Some(one)) => one.into_owned(),
        (None, None) => String::new(),
    }
}

/// The surest code or link of a message; `None` if there is none, or if nobody looked.
pub(super) fn surest<'a>(message: &'a Value, list: &str, field: &str) -> Option<&'a str> {
    message[list].as_array()?.first()?[field].as_str()
}

/// A message in one line, for a list or a stream.
pub(super) fn in_one_line(message: &Value, terminal: Terminal) -> String {
    let text = |name: &str| {
        message[name]
            .as_str()
            .map(harmless::line)
            .unwrap_or_default()
    };
    let (from, subject) = match message["encrypted"].as_bool() {
        Some(true) => (String::new(), "(encrypted)".into()),
        _ => (person(&message["from"]), text("subject")),
    };
    let mut line = format!(
        "{:>4}  {}  {}  {}",
        text("id"),
        terminal.paint(Ink::Dim, &text("received_at")),
        column(&from, 32),
        terminal.paint(Ink::Bold, &subject),
    );
    if let Some(code) = surest(message, "codes", "code") {
        let code = terminal.paint(Ink::Yellow, &harmless::line(code));
        let _ = write!(line, "  [{code}]");
    }
    line
}

/// Text cut or filled to a width in cells.
fn column(text: &str, width: usize) -> String {
    let cells = |text: &str| ratatui::text::Line::raw(text).width();
    let mut shown = text.to_owned();
    if cells(&shown) > width {
        while cells(&shown) >= width {
            shown.pop();
        }
        shown.push('…');
    }
    let fill = width.saturating_sub(cells(&shown));
    shown + &" ".repeat(fill)
}

/// A whole message: who, what, when, what there is to read, and what is attached.
pub(super) fn page(message: &Value, terminal: Terminal) -> String {
    let mut page = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = terminal.paint(Ink::Dim, &format!("{name:<9}"));
            let _ = writeln!(page, "{name} {value}");
        }
    };
    let headers = &message["headers"];
    let people = |name: &str| {
        let all = headers[name].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().map(person).collect::<Vec<_>>().join(", ")
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map(harmless::line)
            .unwrap_or_default()
            .into_owned()
    };
    field("From", &people("from"));
    field("To", &people("to"));
    field("Cc", &people("cc"));
    field("Reply-To", &people("reply_to"));
    field(
        "Subject",
        &terminal.paint(Ink::Bold, &text(&headers["subject"])),
    );
    field("Date", &text(&headers["date"]));
    field("Received", &text(&message["received_at"]));
    field("Until", &text(&message["expires_at"]));
    for (title, list, name) in [("Code", "codes", "code"), ("Link", "links", "url")] {
        if let Some(found) = surest(message, list, name) {
            field(title, &terminal.paint(Ink::Yellow, &harmless::line(found)));
        }
    }
    for attachment in message["attachments"].as_array().into_iter().flatten() {
        let [name, kind] = ["name", "type"].map(|field| text(&attachment[field]));
        let [index, size] = ["index", "size"].map(|field| attachment[field].as_u64().unwrap_or(0));
        field(
            "Attached",
            &format!("{index}: {name} ({kind}, {size} bytes)"),
        );
    }
    let body = message["text"].as_str().unwrap_or_default();
    let body = match terminal.is_terminal {
        true => harmless::lines(body),
        false => body.into(),
    };
    if message["encrypted"] == true {
        page.push_str(
            "\nThe message is encrypted: mayfly mailbox read --raw | age --decrypt -i KEYFILE\n",
        );
    } else if !body.trim().is_empty() {
        let _ = write!(page, "\n{}\n", body.trim_end());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Terminal = Terminal {
        is_terminal: true,
        colours: false,
    };

    fn hostile() -> Value {
        json!({
            "id": "7", "received_at": "2026-11-22T10:00:07Z", "expires_at": "2026-11-22T10:30:00Z",
            "from": { "name": "J\u{1b}[31mörg\n", "address": "joerg@harbour.test" },
            "subject": "Your code\u{7} is 1", "encrypted": false,
            "codes": [{ "code": "1234", "confidence": 0.9 }], "links": [],
            "headers": {
                "from": [{ "name": "J\u{1b}[31mörg\n", "address": "joerg@harbour.test" }],
                "to": [{ "name": null, "address": "you@mayfly.test" }], "cc": [], "reply_to": [],
                "subject": "Your code\u{7} is 1", "date": null,
            },
            "text": "Hello\u{1b}[2J\n\tyou\n\n",
            "attachments": [{ "index": 0, "name": "a\u{202e}fdp.exe", "type": "image/png", "size": 68 }],
        })
    }

    #[test]
    fn a_terminal_is_shown_nothing_that_it_obeys() {
        let line = in_one_line(&hostile(), PLAIN);
        assert_eq!(
            line,
            "   7  2026-11-22T10:00:07Z  J\u{fffd}[31mörg\u{fffd} <joerg@harbour.test>   Your code\u{fffd} is 1  [1234]"
        );
        let page = page(&hostile(), PLAIN);
        let expected = "\
From      J\u{fffd}[31mörg\u{fffd} <joerg@harbour.test>
To        you@mayfly.test
Subject   Your code\u{fffd} is 1
Received  2026-11-22T10:00:07Z
Until     2026-11-22T10:30:00Z
Code      1234
Attached  0: a\u{fffd}fdp.exe (image/png, 68 bytes)

Hello\u{fffd}[2J
\tyou
";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_file_gets_the_text_as_it_is() {
        let file = Terminal {
            is_terminal: false,
            colours: false,
        };
        assert!(page(&hostile(), file).ends_with("\n\nHello\u{1b}[2J\n\tyou\n"));
        let sealed = json!({ "id": "1", "encrypted": true, "from": null, "codes": null });
        assert!(in_one_line(&sealed, file).ends_with("(encrypted)"));
        assert!(page(&sealed, file).contains("age --decrypt"));
    }

    #[test]
    fn columns_have_a_width_in_cells() {
        assert_eq!(column("ab", 4), "ab  ");
        assert_eq!(column("abcd", 4), "abcd");
        assert_eq!(column("abcde", 4), "abc…");
        assert_eq!(column("日本語", 4), "日… ");
        assert_eq!(surest(&json!({ "codes": null }), "codes", "code"), None);
    }
}

//! C2, C3, C7: what comes before it may come.

use crate::case::Case;

const REFUSED: &str = "554 5.5.0, closed";

#[test]
fn c02_commands_behind_ehlo() {
    // In pieces it cannot be seen that the client did not wait: then all is as if it had.
    for hello in ["EHLO x\r\n", "HELO x\r\n"] {
        Case::connect()
            .say_at_once([hello, "MAIL FROM:<>\r\n"].concat(), REFUSED)
            .stored(&[]);
    }
}

#[test]
fn c03_content_behind_data() {
    let envelope = "MAIL FROM:<s@x.example>\r\nRCPT TO:<u1@ours.test>\r\nDATA\r\n";
    for content in ["Subject: x\r\n", "Subject: x\r\n\r\n.\r\n", "x", ".\r\n"] {
        Case::open()
            .say_at_once([envelope, content].concat(), "250, 250, 554 5.5.0, closed")
            .stored(&[]);
    }
}

#[test]
fn c07_reset_behind_data() {
    Case::transaction()
        .say_at_once("DATA\r\nRSET\r\n", REFUSED)
        .stored(&[]);
}

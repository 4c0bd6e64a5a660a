//! C: pipelining.

use crate::case::Case;

const CONTENT: &[u8] = b"Subject: t\r\n\r\nbody\r\n";
const WIRE: &[u8] = b"Subject: t\r\n\r\nbody\r\n.\r\n";

#[test]
fn c04_no_354_when_no_recipient_is_left() {
    Case::open()
        .say(
            b"MAIL FROM:<s@x.example>\r\nRCPT TO:<nobody@ours.test>\r\nDATA\r\n",
            "250, 550 5.1.1, 554 5.5.1",
        )
        .verify()
        .stored(&[]);
}

#[test]
fn c05_a_thousand_recipients_are_answered_in_their_order() {
    let kinds = [
        ("u1@ours.test", "250"),
        ("nobody@ours.test", "550 5.1.1"),
        ("u2@ours.test", "250"),
        ("v@x.example", "550 5.7.1"),
    ];
    let mut said = "MAIL FROM:<s@x.example>\r\n".to_owned();
    let mut replies = "250".to_owned();
    for nth in 0..1000 {
        // A pattern without a short period.
        let (to, reply) = kinds[nth * nth % 7 % 4];
        said += &format!("RCPT TO:<{to}>\r\n");
        replies += &format!(", {reply}");
    }
    said += "DATA\r\n";
    replies += ", 354";
    let to = |mailbox: &str| said.matches(mailbox).count();
    let copies = [("u1", to("<u1@")), ("u2", to("<u2@"))];
    let mut case = Case::open().with(|limits| limits.errors_max = 10_000);
    case.budget.mailbox_messages_max = 1000;
    let expected: Vec<_> = copies
        .iter()
        .flat_map(|(mailbox, count)| {
            std::iter::repeat_n((*mailbox, "s@x.example", CONTENT), *count)
        })
        .collect();
    case.say(&said, &replies).say(WIRE, "250").stored(&expected);
}

#[test]
fn c07_nothing_behind_quit_is_carried_out() {
    Case::transaction()
        .say(
            b"QUIT\r\nMAIL FROM:<s@x.example>\r\nRCPT TO:<u1@ours.test>\r\nDATA\r\nx\r\n.\r\n",
            "221, closed",
        )
        .stored(&[]);
}

#[test]
fn c08_the_250_covers_only_those_who_were_accepted() {
    let mut case = Case::transaction();
    case.budget.mailbox_messages_max = 1;
    case.say(b"DATA\r\n", "354")
        .say(WIRE, "250")
        .say(b"MAIL FROM:<again@x.example>\r\n", "250")
        .say(b"RCPT TO:<u2@ours.test>\r\n", "250")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "452 4.2.2")
        .say(b"DATA\r\n", "354")
        .say(WIRE, "250")
        .stored(&[
            ("u1", "s@x.example", CONTENT),
            ("u2", "again@x.example", CONTENT),
        ]);
}

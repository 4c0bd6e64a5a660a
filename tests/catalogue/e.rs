//! E: chunks.

use crate::case::{Case, bytes};
use std::time::Duration;

/// A whole message in one chunk.
fn last(content: &[u8]) -> Vec<u8> {
    [
        format!("BDAT {} LAST\r\n", content.len()).as_bytes(),
        content,
    ]
    .concat()
}

fn chunk(content: &[u8]) -> Vec<u8> {
    [format!("BDAT {}\r\n", content.len()).as_bytes(), content].concat()
}

const CLOSED: &str = "521 5.5.4, closed";

#[test]
fn e01_two_chunks_and_an_empty_last_one() {
    Case::transaction()
        .say(b"BDAT 8\r\n12345678", "250")
        .say(b"BDAT 8\r\n12345678", "250")
        .say(b"BDAT 0 LAST\r\n", "250")
        .verify()
        .stored(&[("u1", "s@x.example", b"1234567812345678")]);
    Case::transaction()
        .say(
            [chunk(b"12345678"), chunk(b"12345678"), last(b"")].concat(),
            "250, 250, 250",
        )
        .verify()
        .stored(&[("u1", "s@x.example", b"1234567812345678")]);
}

#[test]
fn e02_a_chunk_for_nobody_is_not_carried_out() {
    Case::open()
        .say(
            [
                b"MAIL FROM:<s@x.example>\r\nRCPT TO:<nobody@ours.test>\r\n".to_vec(),
                last(b"MAIL FROM:<e@v.test>\r\n"),
            ]
            .concat(),
            "250, 550 5.1.1, 554 5.5.1",
        )
        // The payload began no transaction.
        .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
        .verify()
        .stored(&[]);
}

#[test]
fn e03_a_chunk_without_mail_is_not_carried_out() {
    Case::open()
        .say(b"BDAT 6 LAST\r\nQUIT\r\n", "503")
        .verify()
        .stored(&[]);
}

#[test]
fn e04_data_behind_a_refused_chunk() {
    Case::open()
        .say(b"BDAT 6 LAST\r\nQUIT\r\n", "503")
        .say(b"DATA\r\n", "503")
        .verify()
        .stored(&[]);
    Case::open()
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(b"RCPT TO:<nobody@ours.test>\r\n", "550")
        .say(last(b"MAIL FROM:<e@v.test>\r\n"), "554")
        .say(b"DATA\r\n", "503")
        .verify()
        .stored(&[]);
}

#[test]
fn e05_other_commands_between_chunks() {
    let case = Case::transaction()
        .say(b"BDAT 5\r\nhello", "250")
        .say(b"DATA\r\n", "503")
        .say(b"MAIL FROM:<other@x.example>\r\n", "503")
        .say(b"RCPT TO:<u2@ours.test>\r\n", "503")
        .say(b"STARTTLS\r\n", "503");
    case.clone().say(last(b" world"), "250").verify().stored(&[(
        "u1",
        "s@x.example",
        b"hello world",
    )]);
    // EHLO begins anew (RFC 5321 section 4.1.4), and so does RSET.
    case.clone()
        .say(b"EHLO t.example\r\n", "250")
        .say(last(b" world"), "503")
        .verify()
        .stored(&[]);
    case.verify().say(last(b" world"), "503").stored(&[]);
}

#[test]
fn e06_bdat_in_data_is_content() {
    Case::data()
        .say(b"BDAT 5 LAST\r\nhello\r\n.\r\n", "250")
        .verify()
        .stored(&[("u1", "s@x.example", b"BDAT 5 LAST\r\nhello\r\n")]);
}

#[test]
fn e07_a_count_that_is_none_ends_the_session() {
    for count in [
        "-1",
        "+5",
        "0x10",
        "1e3",
        "18446744073709551616",
        "9223372036854775808",
        "5 LASTX",
        "5 LAST LAST",
        "",
        " 5",
    ] {
        let said = format!("BDAT {count}\r\nMAIL FROM:<e@v.test>\r\nQUIT\r\n");
        Case::transaction().say(&said, CLOSED).stored(&[]);
        Case::open().say(&said, CLOSED).stored(&[]);
    }
    for line in [
        "BDAT\r\n",
        "BDAT 5\0\r\nQUIT\r\n",
        "BDAT 5\nQUIT\r\n",
        "BDAT 5\r6\r\nQUIT\r\n",
    ] {
        Case::transaction().say(line, "5, closed").stored(&[]);
    }
    let long = format!("BDAT {}\r\nQUIT\r\n", "0".repeat(3000));
    Case::transaction().say(long, "5, closed").stored(&[]);
}

#[test]
fn e08_empty_chunks_are_soon_too_many() {
    // EHLO was the first command that moved no mail.
    let case = Case::transaction();
    let said = "BDAT 0\r\n".repeat(100_000);
    let replies = "551 5.7.1, ".repeat(99) + "421 4.7.0, closed";
    assert!(case.clone().say(&said, "").memory_used_max() < 200_000);
    case.say(said, &replies).stored(&[]);
}

#[test]
fn e09_many_small_chunks_cost_what_their_bytes_cost() {
    // A tenth of what the catalogue asks for: what it costs grows with it.
    const COUNT: usize = 100_000;
    let case = Case::transaction().with(|limits| limits.message_bytes_max = bytes(10 << 20));
    let said = "BDAT 1\r\nx".repeat(COUNT);
    let case = case.say(said, &"250, ".repeat(COUNT));
    // The content, a step of reservation beyond it, the mailboxes and the trace headers.
    assert!(case.memory_used_max() < COUNT as u64 + (100 << 10));
    case.say(b"BDAT 0 LAST\r\n", "250").verify().stored(&[(
        "u1",
        "s@x.example",
        &vec![b'x'; COUNT],
    )]);
}

#[test]
fn e10_too_much_is_refused_and_thrown_away_up_to_a_bound() {
    let limit = |case: Case| case.with(|limits| limits.message_bytes_max = bytes(10_000));
    // It is thrown away, and all goes on.
    limit(Case::transaction())
        .say(last(&[b'x'; 10_001]), "552 5.3.4")
        .verify()
        .stored(&[]);
    // More than half as much again as a message may have.
    limit(Case::transaction())
        .say(last(&[b'x'; 20_000]), "552 5.3.4, 421 4.7.0, closed")
        .stored(&[]);
    let sum = [chunk(&[b'x'; 6000]), chunk(&[b'x'; 6000]), last(b"x")].concat();
    limit(Case::transaction())
        .say(sum, "250, 552 5.3.4, 552 5.3.4")
        .verify()
        .stored(&[]);
    limit(Case::transaction())
        .say(
            chunk(&[b'x'; 10_000]).repeat(2),
            "250, 552 5.3.4, 421 4.7.0, closed",
        )
        .stored(&[]);
}

#[test]
fn e11_what_is_counted_is_content() {
    let content = b"a\r\n.\r\nQUIT\r\nRSET\r\n.\r\n..x\r\n";
    Case::transaction()
        .say(last(content), "250")
        .verify()
        .stored(&[("u1", "s@x.example", content)]);
    // Cut between chunks at every place, through each CRLF among them.
    for at in 1..content.len() {
        let (first, second) = content.split_at(at);
        Case::transaction()
            .say([chunk(first), last(second)].concat(), "250, 250")
            .verify()
            .stored(&[("u1", "s@x.example", content)]);
    }
}

#[test]
fn e12_bare_newlines_in_a_chunk_are_as_bad_as_in_data() {
    for content in [
        &b"a\nb\r\n"[..],
        b"a\rb\r\n",
        b"a\r",
        b"\n",
        b"a\0b\r\n",
        b"\r\r\n",
    ] {
        Case::transaction()
            .say(last(content), "550 5.5.2")
            .verify()
            .stored(&[]);
    }
    // Torn between two chunks it is a CRLF; with something between it is not.
    Case::transaction()
        .say([chunk(b"a\r"), last(b"\nb\r\n")].concat(), "250, 250")
        .stored(&[("u1", "s@x.example", b"a\r\nb\r\n")]);
    // The message is refused at its end, as behind DATA, whichever chunk it was in.
    Case::transaction()
        .say(
            [chunk(b"a\r"), chunk(b"x"), last(b"\nb")].concat(),
            "250, 250, 550 5.5.2",
        )
        .verify()
        .stored(&[]);
}

#[test]
fn e13_what_follows_a_refused_chunk_is_refused() {
    // Where the first chunk is refused at once, all of them are; where it is refused at the end of the message, only that
    // answer counts.
    let too_big = chunk(&[b'x'; 101]);
    let bare_newline = chunk(b"a\nb");
    for (first, replies) in [
        (too_big, "552 5.3.4, 552 5.3.4, 552 5.3.4, 552 5.3.4"),
        (bare_newline, "250, 250, 250, 550 5.5.2"),
    ] {
        let case = Case::transaction().with(|limits| limits.message_bytes_max = bytes(100));
        case.say(
            [
                first,
                chunk(b"MAIL FROM:<e@v.test>\r\n"),
                chunk(b"RSET\r\n"),
                last(b"QUIT\r\n"),
            ]
            .concat(),
            replies,
        )
        .verify()
        .stored(&[]);
    }
}

#[test]
fn e14_who_is_gone_amid_a_chunk_has_sent_nothing() {
    let case = Case::transaction().say(last(&[b'x'; 100]), "250");
    for cut in 0..=case.bytes() {
        let stored = case.cut_off_after(cut).len();
        assert_eq!(
            stored,
            usize::from(cut == case.bytes()),
            "after {cut} bytes"
        );
    }
    let half = [b"BDAT 100\r\n".to_vec(), vec![b'x'; 40]].concat();
    Case::transaction()
        .say(half, "")
        .pass(Duration::from_secs(299), "")
        .pass(Duration::from_secs(2), "421 4.4.2, closed")
        .stored(&[]);
}

#[test]
fn e15_two_messages_in_one_segment() {
    let message = |from: &str, content: &[u8]| {
        let envelope = format!("MAIL FROM:<{from}>\r\nRCPT TO:<u1@ours.test>\r\n");
        [envelope.into_bytes(), last(content)].concat()
    };
    Case::open()
        .say(
            [
                message("a@x.example", b"one"),
                message("b@x.example", b"two"),
            ]
            .concat(),
            "250 2.1.0, 250 2.1.5, 250 2.0.0, 250 2.1.0, 250 2.1.5, 250 2.0.0",
        )
        .verify()
        .stored(&[("u1", "a@x.example", b"one"), ("u1", "b@x.example", b"two")]);
}

#[test]
fn e16_behind_a_refused_message_there_is_no_transaction() {
    for case in [
        Case::transaction().say(last(b"a\nb"), "550 5.5.2"),
        Case::data().say(b"a\nb\r\n.\r\n", "550 5.5.2"),
    ] {
        case.say(b"RCPT TO:<u1@ours.test>\r\n", "503")
            .say(b"DATA\r\n", "503")
            .verify()
            .stored(&[]);
    }
}

#[test]
fn e17_garbage_behind_a_chunk() {
    Case::open()
        .say(b"BDAT 1\r\n:BDAT \x7f\r\n", "503, 521 5.5.4, closed")
        .stored(&[]);
    Case::transaction()
        .say(b"BDAT 1\r\n:BDAT \x7f\r\n", "250, 521 5.5.4, closed")
        .stored(&[]);
}

#[test]
fn e18_messages_that_are_never_finished_do_not_pile_up() {
    // EHLO was the first command that moved no mail; each RSET is another.
    let mut case = Case::open().with(|limits| limits.message_bytes_max = bytes(10_000));
    let round = [
        b"MAIL FROM:<s@x.example>\r\nRCPT TO:<u1@ours.test>\r\n".to_vec(),
        chunk(&[b'x'; 9000]),
        b"RSET\r\n".to_vec(),
    ]
    .concat();
    for _ in 0..98 {
        case = case.say(&round, "250, 250, 250, 250");
    }
    let case = case.say(&round, "250, 250, 250, 250, 421 4.7.0, closed");
    assert!(case.memory_used_max() < 20_000);
    case.stored(&[]);
}

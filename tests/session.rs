//! What a session costs, how it batches its replies, and what it counts.

#![forbid(unsafe_code)]

mod harness;

use harness::{Conversation, converse, profile, tight_limits};
use mayfly::clock::Instant;
use mayfly::mail::{BodyWriter, Ledger};
use mayfly::metrics::{
    Command, CoreMetrics, Offence, RecipientResult, Rejected, RejectedAt, ReplyCode,
};
use mayfly::settings::{Bytes, Span};
use mayfly::smtp::session::Profile;
use mayfly::smtp::{Action, Limits, Question, Reply, Session, Verdict};
use std::sync::Arc;
use std::time::Duration;

const NOW: Instant = Instant::from_secs(1);

fn session(limits: Limits) -> Session<()> {
    let mut session = Session::new(profile(Arc::new(limits)), NOW);
    assert!(matches!(session.next_action(), Action::Send(_)));
    session
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<Session<Box<u8>>>();
    assert!(size < 200, "{size} bytes");
}

#[test]
fn the_replies_of_a_batch_leave_together() {
    let metrics = CoreMetrics::default();
    let mut session = session(Limits::default());
    session.receive(&mut &b"HELO x\r\n"[..], NOW, &metrics);
    assert!(matches!(session.next_action(), Action::Send(_)));
    let mut input = &b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@d>\r\nRCPT TO:<v@d>\r\nNOOP\r\n"[..];
    let mut sent = Vec::new();
    loop {
        match session.next_action() {
            Action::Send(bytes) => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
            Action::Ask(_) => session.answer(Verdict::Recipient(Ok(())), NOW, &metrics),
            Action::Wait { .. } if input.is_empty() => break,
            Action::Wait { .. } => session.receive(&mut input, NOW, &metrics),
            other => panic!("not expected: {other:?}"),
        }
    }
    let expected =
        "250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n";
    assert_eq!(sent, [expected]);
}

#[test]
fn a_client_that_never_reads_does_not_fill_memory() {
    let metrics = CoreMetrics::default();
    let junk_commands_max = u32::MAX;
    let mut session = session(Limits {
        junk_commands_max,
        ..Limits::default()
    });
    let flood = b"NOOP\r\n".repeat(100_000);
    let mut input = &flood[..];
    session.receive(&mut input, NOW, &metrics);
    assert!(flood.len() - input.len() < 10_000, "it stops to read");
    let Action::Send(bytes) = session.next_action() else {
        panic!("there is something to send");
    };
    assert!(bytes.len() < 5_000);
}

#[test]
fn what_happens_is_counted() {
    let metrics = CoreMetrics::default();
    let mut session = session(Limits::default());
    session.receive(&mut &b"HELO x\r\n"[..], NOW, &metrics);
    session.receive(&mut &b"FOO\r\nNOOP\0\r\nDATA\r\n"[..], NOW, &metrics);
    let mut input = &b"MAIL FROM:<a@b>\r\nRCPT TO:<u@d>\r\n"[..];
    session.receive(&mut input, NOW, &metrics);
    assert!(input.is_empty());
    assert!(matches!(session.next_action(), Action::Ask(_)));
    let verdict = Verdict::Recipient(Err(Reply::NoSuchMailbox));
    session.answer(verdict, NOW, &metrics);
    assert!(session.in_transaction());
    session.receive(&mut &b"QUIT\r\n"[..], NOW, &metrics);
    assert!(!session.in_transaction());

    let commands = |command| metrics.smtp_commands.of(command).value();
    assert_eq!(commands(Command::Unknown), 2);
    assert_eq!((commands(Command::Helo), commands(Command::Rcpt)), (1, 1));
    let replies = |code| metrics.smtp_replies.of(code).value();
    assert_eq!((replies(ReplyCode::R250), replies(ReplyCode::R500)), (2, 2));
    assert_eq!((replies(ReplyCode::R550), replies(ReplyCode::R221)), (1, 1));
    let offences = |offence| metrics.smtp_offences.of(offence).value();
    assert_eq!(offences(Offence::Syntax), 1);
    assert_eq!(
        (offences(Offence::NulByte), offences(Offence::Sequence)),
        (1, 1)
    );
    let refused = metrics.recipients.of(RecipientResult::NoSuchMailbox);
    assert_eq!(refused.value(), 1);
    assert_eq!(metrics.transactions_aborted.value(), 1);
}

#[test]
fn whose_fault_it_is_that_a_recipient_is_deferred_is_counted() {
    let mut conversation = Conversation::<()>::new(profile(Arc::new(Limits::default())), NOW);
    let mut replies = [
        Reply::TryLater,
        Reply::NoMemory,
        Reply::NoMemory,
        Reply::ClientTooManyMessages,
        Reply::ClientTooManyBytes,
        Reply::ClientTooManyRecipients,
    ]
    .into_iter();
    let input = [
        "HELO x\r\nMAIL FROM:<a@b>\r\n",
        &"RCPT TO:<u@d>\r\n".repeat(6),
    ]
    .concat();
    conversation.hear(
        input.as_bytes(),
        || 1,
        |_| Verdict::Recipient(Err(replies.next().expect("one for each recipient"))),
    );
    let counted = |result| conversation.metrics.recipients.of(result).value();
    assert_eq!(
        [
            RecipientResult::Busy,
            RecipientResult::Memory,
            RecipientResult::TryLater
        ]
        .map(counted),
        [1, 2, 3]
    );
}

#[test]
fn what_is_too_large_only_for_now_is_counted_as_want_of_memory() {
    let ledger = Ledger::new(1 << 10);
    let limits = Limits {
        message_bytes_max: Bytes(20),
        ..Limits::default()
    };
    let profile = Profile {
        message_bytes_max_normally: Bytes(30),
        ..profile(Arc::new(limits))
    };
    let mut conversation = Conversation::new(profile, NOW);
    let reserve = |bytes| ledger.reserve(bytes).ok_or(Reply::NoMemory);
    for bytes in [22, 32] {
        let content = "x".repeat(bytes - 2);
        let envelope = "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@d>\r\n";
        let input = format!("{envelope}DATA\r\n{content}\r\n.\r\n");
        conversation.hear(
            input.as_bytes(),
            || 1,
            |question| match question {
                Question::Recipient { .. } => Verdict::Recipient(Ok(())),
                Question::Begin(beginning) => {
                    Verdict::Begin(reserve(beginning.bytes).map(BodyWriter::new))
                }
                Question::Grow { bytes } => Verdict::Grow(reserve(bytes)),
                Question::Impersonate(_) | Question::Message(_) => panic!("it is refused"),
            },
        );
    }
    let counted = |why| {
        let behind_it = conversation
            .metrics
            .messages_rejected
            .of(RejectedAt::Message, why);
        behind_it.value()
    };
    assert_eq!([Rejected::Memory, Rejected::TooBig].map(counted), [1, 1]);
}

#[test]
fn each_transaction_in_chunks_is_counted_once() {
    let count = |commands: &str| {
        let metrics = CoreMetrics::default();
        let mut session = session(Limits {
            forbid_early_pipelining: false,
            ..Limits::default()
        });
        let envelope = "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@d>\r\n";
        let input = [envelope, commands].concat();
        let mut input = input.as_bytes();
        loop {
            match session.next_action() {
                Action::Send(_) => {}
                Action::Ask(Question::Recipient { .. }) => {
                    session.answer(Verdict::Recipient(Ok(())), NOW, &metrics);
                }
                Action::Ask(Question::Begin(_)) => {
                    let refused = Verdict::Begin(Err(Reply::NoMemory));
                    session.answer(refused, NOW, &metrics);
                }
                Action::Wait { .. } if !input.is_empty() => {
                    session.receive(&mut input, NOW, &metrics);
                }
                Action::Wait { .. } | Action::Close(_) => break,
                other => panic!("not expected: {other:?}"),
            }
        }
        let rejected = |why| {
            let at_a_chunk = metrics.messages_rejected.of(RejectedAt::Chunk, why);
            at_a_chunk.value()
        };
        (
            metrics.smtp_commands.of(Command::Bdat).value(),
            rejected(Rejected::Memory)
                + rejected(Rejected::EmptyChunk)
                + rejected(Rejected::TooBig),
            metrics.transactions_aborted.value(),
        )
    };
    assert_eq!(count("BDAT 1\r\nxBDAT 1\r\nxBDAT 1 LAST\r\nx"), (3, 1, 0));
    assert_eq!(count("BDAT 1\r\nxRSET\r\n"), (1, 1, 0));
    assert_eq!(count("BDAT 0\r\nBDAT 0\r\nQUIT\r\n"), (2, 1, 0));
    assert_eq!(count("BDAT 999999999\r\nxQUIT\r\n"), (1, 1, 0));
    assert_eq!(count("RSET\r\nBDAT 1 LAST\r\nx"), (1, 0, 1));
    assert_eq!(
        count("RSET\r\nMAIL FROM:<>\r\nBDAT 1\r\nxQUIT\r\n"),
        (1, 0, 2)
    );
    assert_eq!(count("BDAT x\r\n"), (1, 0, 1));
}

#[test]
fn who_does_not_wait_is_counted_and_nothing_behind_is_read() {
    let metrics = CoreMetrics::default();
    let mut session = session(Limits::default());
    let mut input = &b"EHLO x\r\nMAIL FROM:<a@b>\r\n"[..];
    session.receive(&mut input, NOW, &metrics);
    assert!(input.is_empty() && !session.in_transaction());
    assert_eq!(metrics.smtp_commands.of(Command::Mail).value(), 0);
    let offence = metrics.smtp_offences.of(Offence::PipelinedTooEarly);
    assert_eq!(offence.value(), 1);
    let Action::Send(bytes) = session.next_action() else {
        panic!("there is something to say");
    };
    assert!(bytes.starts_with(b"554 5.5.0 "));
    assert!(matches!(session.next_action(), Action::Close(_)));
}

#[test]
fn a_client_in_the_tarpit_is_not_read_from_and_costs_no_turn() {
    let metrics = CoreMetrics::default();
    let mut session = session(Limits {
        tarpit: Span::secs(5),
        tarpit_after_errors: 0,
        ..Limits::default()
    });
    let mut input = &b"FOO\r\nNOOP\r\n"[..];
    session.receive(&mut input, NOW, &metrics);
    assert_eq!(input, b"NOOP\r\n");
    let until = NOW.plus(Duration::from_secs(5));
    for _ in 0..3 {
        // Whatever wakes the driver meanwhile.
        assert!(matches!(session.next_action(), Action::Pause { until: it } if it == until));
        session.receive(&mut input, NOW, &metrics);
        assert_eq!(input, b"NOOP\r\n");
    }
    session.resume(until);
    session.receive(&mut input, until, &metrics);
    assert_eq!(input, b"NOOP\r\n", "the reply goes first");
    assert!(matches!(session.next_action(), Action::Send(reply) if reply.starts_with(b"500 ")));
    session.receive(&mut input, until, &metrics);
    assert!(input.is_empty());
    // A server that stops does not wait.
    session.receive(&mut &b"FOO\r\n"[..], until, &metrics);
    session.shut_down(&metrics);
    assert!(
        matches!(session.next_action(), Action::Send(reply) if reply.ends_with(b"closing connection\r\n"))
    );
    assert!(matches!(session.next_action(), Action::Close(_)));
}

#[test]
fn a_session_that_goes_gives_everything_back() {
    // `converse` checks the ledger after each of these cuts a message off.
    let envelope = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\n";
    for message in [
        &b"DATA\r\n0123456789\r\n.\r\n"[..],
        b"BDAT 20\r\n01234567890123456789BDAT 3\r\n01\rBDAT 6 LAST\r\n\n2345\n",
        b"BDAT 1\r\n0BDAT 0 LAST\r\n",
    ] {
        let input = [&envelope[..], message].concat();
        for cut in 0..=input.len() {
            let record = converse(&input[..cut], || 3, tight_limits());
            let is_whole = record
                .events
                .iter()
                .any(|event| event.starts_with("Message"));
            let is_good = !message.ends_with(b"5\n");
            assert_eq!(is_whole, is_good && cut == input.len(), "cut at {cut}");
        }
    }
}

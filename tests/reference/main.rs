//! A parser written from the RFCs' grammar in the plainest way, as the slow model for the real ones.
//!
//! They must let in the same lines, addresses and data and read the same from them. What the real ones
//! let in beyond the grammar is listed by name in `leniency`, each with its reason.

#![forbid(unsafe_code)]

mod canonical;
mod command;
mod data;
mod grammar;
mod leniency;
mod lines;

use command::{Request, request};
use leniency::Leniency;
use mayfly::mail::{Address, Recipient, ReversePath};
use mayfly::smtp::command::{BodyType, Command, parse};
use mayfly::smtp::data::{DataReader, Piece};
use proptest::prelude::*;

/// What the real parser reads, in the model's words.
fn parsed(line: &[u8]) -> Option<Request> {
    Some(match parse(line).1.ok()? {
        Command::Bdat { bytes, is_last } => Request::Bdat { bytes, is_last },
        Command::Data => Request::Data,
        Command::Ehlo(name) => Request::Ehlo(name.to_owned()),
        Command::Expn => Request::Expn,
        Command::Helo(name) => Request::Helo(name.to_owned()),
        Command::Help => Request::Help,
        Command::Mail {
            reverse_path,
            parameters,
        } => Request::Mail {
            from: match reverse_path {
                ReversePath::Null => None,
                ReversePath::Address(text) => Some(text.to_string()),
            },
            size: parameters.size,
            body: parameters.body.map(|body| match body {
                BodyType::BinaryMime => "BINARYMIME",
                BodyType::EightBitMime => "8BITMIME",
                BodyType::SevenBit => "7BIT",
            }),
            smtputf8: parameters.smtputf8,
            require_tls: parameters.require_tls,
        },
        Command::Noop => Request::Noop,
        Command::Quit => Request::Quit,
        Command::Rcpt(Recipient::Postmaster) => Request::Rcpt(None),
        Command::Rcpt(Recipient::Address(address)) => {
            Request::Rcpt(Some(address.as_str().to_owned()))
        }
        Command::Rset => Request::Rset,
        Command::StartTls => Request::StartTls,
        Command::Vrfy => Request::Vrfy,
        // A protocol of its own, with tables of its own (`smtp/xclient.rs`).
        Command::Xclient(_) => return None,
    })
}

/// What the real reader makes of data that comes in pieces; `None` if it sees no end.
fn read(input: &[u8], sizes: &[usize], room: usize) -> Option<(Vec<u8>, usize, bool)> {
    let mut reader = DataReader::new();
    let mut content = Vec::new();
    let mut left = input;
    let mut sizes = sizes.iter().cycle();
    while !left.is_empty() {
        let size = sizes.next().expect("it never ends");
        let mut chunk;
        (chunk, left) = left.split_at(left.len().min(*size));
        loop {
            match reader.read(&mut chunk, room) {
                Piece::Content(piece) => content.extend_from_slice(piece),
                Piece::End => {
                    let rest = chunk.len() + left.len();
                    return Some((content, rest, reader.offence().is_some()));
                }
                Piece::Full => unreachable!("there is always room"),
                Piece::Starved => break,
            }
        }
    }
    None
}

/// What data and its ends are made of.
const DATA_PIECES: &[&[u8]] = &[
    b"\r\n.\r\n",
    b"\r\n",
    b"\r\n",
    b".",
    b".",
    b"\r",
    b"\n",
    b"\0",
    b"x",
    b"a line of text\r\n",
    b"..",
    b"\r\n..",
    b".\r\n",
    b"a line that is longer than the block in which bytes are looked at together\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn commands_are_read_as_the_grammar_says(line in lines::commands()) {
        prop_assert_eq!(
            parsed(&line),
            request(&line, Leniency::ALL),
            "{}",
            line.escape_ascii()
        );
    }

    #[test]
    fn addresses_are_read_as_the_grammar_says(text in lines::mailboxes()) {
        let real = Address::parse(&text).ok().map(|it| it.as_str().to_owned());
        let model = command::mailbox(&text, Leniency::ALL);
        prop_assert_eq!(real, model, "{}", text.escape_ascii());
    }

    #[test]
    fn data_is_read_as_the_standard_says(
        pieces in prop::collection::vec(
            prop::sample::select(DATA_PIECES),
            0..30,
        ),
        sizes in prop::collection::vec(1..20_usize, 1..5),
        room in 1..90_usize,
    ) {
        let input = pieces.concat();
        let model = data::data(&input);
        let real = read(&input, &sizes, room);
        // Nobody gets the content of a message with an offence.
        let seen = |content: Vec<u8>, rest: usize, offended: bool| {
            ((!offended).then_some(content), rest, offended)
        };
        prop_assert_eq!(
            real.map(|(content, rest, offended)| seen(content, rest, offended)),
            model.map(|it| seen(it.content, it.rest.len(), it.offence.is_some())),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn every_leniency_is_needed_by_its_example_and_granted() {
    for leniency in Leniency::ALL {
        let line = leniency.example().as_bytes();
        let others: Vec<_> = Leniency::ALL
            .iter()
            .copied()
            .filter(|it| it != leniency)
            .collect();
        assert_eq!(request(line, &others), None, "{leniency:?} is not needed");
        let granted = request(line, Leniency::ALL);
        assert!(granted.is_some(), "{leniency:?} does not help");
        assert_eq!(parsed(line), granted, "{leniency:?}");
    }
}

#[test]
fn the_grammar_itself_is_let_in() {
    for line in [
        "EHLO a.test",
        "EHLO [127.0.0.1]",
        "EHLO [IPv6:::1]",
        "HELO a.test",
        "MAIL FROM:<>",
        "MAIL FROM:<a@b.test> SIZE=1 BODY=8BITMIME",
        "MAIL FROM:<@x.test,@y.test:\"a\\\"b\"@[tag:content]>",
        "RCPT TO:<Postmaster>",
        "RCPT TO:<a.b@[IPv6:1:2:3:4:5:6:127.0.0.1]>",
        "RCPT TO:<a@[IPv6:1::2:127.0.0.1]>",
        "RCPT TO:<a@[001.2.3.4]>",
        "DATA",
        "RSET",
        "NOOP",
        "NOOP x",
        "HELP \"a b\"",
        "VRFY u",
        "EXPN \"l\"",
        "QUIT",
        "STARTTLS",
        "BDAT 5",
        "BDAT 0 LAST",
        "MAIL FROM:<ü@bücher.test> SMTPUTF8 REQUIRETLS",
        "RCPT TO:<\"ü \"@xn--bcher-kva.test>",
        "RCPT TO:<Ｕ１@ＯＵＲＳ.test>",
    ] {
        let strict = request(line.as_bytes(), &[]);
        assert!(strict.is_some(), "{line}");
        assert_eq!(parsed(line.as_bytes()), strict, "{line}");
    }
}

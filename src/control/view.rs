//! Views: the HTML of one message under an address of its own, for the sandboxed frame of a page.
//!
//! A frame cannot send a token, and a token must not stand in an address. So whoever holds the token is
//! given a *ticket*: what may be seen, and until when, sealed under a key that is drawn when the
//! process starts. Nothing is kept for it. It opens this one view and nothing else, and one that is
//! forged, cut short, too old or of a message that is gone gets the answer of a path that nothing has.

use super::app::App;
use super::problem::Problem;
use super::{random, reading};
use crate::clock::Instant;
use crate::reading::html::Remote;
use crate::reading::message::images_from;
use crate::store::{Holder, Sequence, TokenHash};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use std::fmt;
use std::time::Duration;

/// How long a ticket is good for: a page asks for one when it is about to show the frame.
pub(super) const TICKET_TIME: Duration = Duration::from_secs(60);

/// What the key is used for, and nothing else.
const PURPOSE: &[u8] = b"mayfly view 1";

/// Token hash, message, end, and whether images from elsewhere are loaded.
const PLAIN_BYTES: usize = 32 + 8 + 8 + 1;

/// What a ticket lets its bearer see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    holder: TokenHash,
    message: Sequence,
    remote: Remote,
    until: Instant,
}

impl View {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PLAIN_BYTES + AES_256_GCM.tag_len());
        bytes.extend_from_slice(&self.holder.0);
        bytes.extend_from_slice(&self.message.0.to_be_bytes());
        bytes.extend_from_slice(&self.until.as_micros().to_be_bytes());
        bytes.push(u8::from(self.remote == Remote::Shown));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (holder, rest) = bytes.split_first_chunk()?;
        let (message, rest) = rest.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let remote = match rest {
            [0] => Remote::Blocked,
            [1] => Remote::Shown,
            _ => return None,
        };
        Some(Self {
            holder: TokenHash(*holder),
            message: Sequence(u64::from_be_bytes(*message)),
            remote,
            until: Instant::from_micros(u64::from_be_bytes(*until)),
        })
    }
}

/// The key under which tickets are sealed. It lives and dies with the process.
pub(super) struct TicketKey(RandomizedNonceKey);

impl TicketKey {
    pub(super) fn draw() -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &random::<32>());
        Self(key.unwrap_or_else(|_| unreachable!("the key is as long as the algorithm wants it")))
    }

    /// A ticket for a view.
    fn seal(&self, view: &View) -> Result<String, Problem> {
        let mut sealed = view.to_bytes();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(PURPOSE), &mut sealed)
            .map_err(|_| Problem::Busy)?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce.as_ref()[..], &sealed].concat()))
    }

    /// What a ticket is for, if it is one of ours and its time is not over.
    fn open(&self, ticket: &str, now: Instant) -> Option<View> {
        let bytes_max = NONCE_LEN + PLAIN_BYTES + AES_256_GCM.tag_len();
        if ticket.len() != BASE64URL_NOPAD.encode_len(bytes_max) {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(ticket.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(PURPOSE), &mut sealed);
        let view = View::from_bytes(plain.ok()?)?;
        (now < view.until).then_some(view)
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// The address at which a message of `holder` can be seen for a while.
pub(super) fn address(
    app: &App,
    holder: &Holder,
    message: Sequence,
    remote: Remote,
) -> Result<String, Problem> {
    let Holder::Token(holder) = *holder else {
        return Err(Problem::NoSuchRoute);
    };
    let ticket = app.tickets.seal(&View {
        holder,
        message,
        remote,
        until: app.cores.now().plus(TICKET_TIME),
    })?;
    Ok(format!("/view/{ticket}"))
}

/// The policy of the frame's document: nothing runs, nothing is sent, links open windows of their own.
fn policy(remote: Remote) -> String {
    format!(
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
         style-src 'unsafe-inline'; img-src {}; font-src data:; form-action 'none'; \
         base-uri 'none'; frame-ancestors 'self'",
        images_from(remote)
    )
}

/// The document that a ticket is for.
pub(super) async fn show(app: &App, ticket: &str) -> Result<Response, Problem> {
    let view = app.tickets.open(ticket, app.cores.now());
    let view = view.ok_or(Problem::NoSuchRoute)?;
    let holder = Holder::Token(view.holder);
    let (message, remote) = (view.message, view.remote);
    let entry = app.ask(&holder, move |shard, holder, now| {
        shard.message(holder, message, now)
    });
    let gone = |problem| match problem {
        // One answer for all that cannot be seen, or it would tell what is there.
        Problem::Encrypted | Problem::NoSuchMailbox | Problem::NoSuchPart => Problem::NoSuchRoute,
        other => other,
    };
    let entry = entry.await.map_err(gone)?.ok_or(Problem::NoSuchRoute)?;
    reading::document(app, &entry.message, remote, &policy(remote))
        .await
        .map_err(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            holder: TokenHash([7; 32]),
            message: Sequence(41),
            remote: Remote::Shown,
            until: Instant::from_secs(100),
        }
    }

    #[test]
    fn a_ticket_opens_until_its_time_is_over() {
        let key = TicketKey::draw();
        for remote in [Remote::Blocked, Remote::Shown] {
            let view = View { remote, ..view() };
            let ticket = key.seal(&view).expect("sealed");
            for (secs, opened) in [
                (0, Some(&view)),
                (99, Some(&view)),
                (100, None),
                (9_999, None),
            ] {
                let found = key.open(&ticket, Instant::from_secs(secs));
                assert_eq!(found.as_ref(), opened, "{secs} s");
            }
        }
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_shows_what_is_in_it() {
        let key = TicketKey::draw();
        let [one, two] = [(); 2].map(|()| key.seal(&view()).expect("sealed"));
        assert_ne!(one, two);
        let bytes = BASE64URL_NOPAD.decode(one.as_bytes()).expect("base 64");
        assert!(!bytes.windows(4).any(|window| window == [7; 4]));
        assert_eq!(format!("{key:?}"), "TicketKey(..)");
    }

    #[test]
    fn forged_tickets_do_not_open() {
        let key = TicketKey::draw();
        let ticket = key.seal(&view()).expect("sealed");
        let opens = |ticket: &str| key.open(ticket, Instant::ZERO).is_some();
        assert!(opens(&ticket));
        assert!(TicketKey::draw().open(&ticket, Instant::ZERO).is_none());
        for end in 0..ticket.len() {
            assert!(!opens(&ticket[..end]), "cut to {end}");
        }
        for (at, old) in ticket.char_indices() {
            let new = if old == 'A' { 'B' } else { 'A' };
            let mut forged = ticket.clone();
            forged.replace_range(at..=at, &new.to_string());
            assert!(!opens(&forged), "changed at {at}");
        }
        for forged in [
            String::new(),
            "A".repeat(ticket.len()),
            format!("{ticket}A"),
            format!("{ticket}="),
            format!(" {ticket}"),
            ticket.replace(['-', '_'], "+") + "+",
            "\u{e4}".repeat(ticket.len() / 2),
        ] {
            assert!(!opens(&forged), "{forged}");
        }
    }
}

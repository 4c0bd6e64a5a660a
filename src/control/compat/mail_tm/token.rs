//! Tokens: given for an address and its password, sealed, and good until they end or their account does.

use super::{Answer, body};
use crate::clock::Instant;
use crate::control::app::App;
use crate::control::compat::sealed::SealKey;
use crate::control::passwords;
use crate::control::problem::Problem;
use crate::control::{TokenKey, bearer};
use crate::edge::Busy;
use crate::mail::Address;
use crate::store::{Holder, Password, TokenHash};
use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::Request;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;

/// What a token says: which mailbox, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    holder: TokenHash,
    until: Instant,
}

impl Pass {
    fn seal(self, key: &SealKey) -> String {
        let until = self.until.as_micros().to_be_bytes();
        key.seal(&[&self.holder.0[..], &until].concat())
    }

    fn open(shown: &[u8], key: &SealKey) -> Option<Self> {
        let plain = key.open(std::str::from_utf8(shown).ok()?)?;
        let (holder, until) = plain.split_first_chunk()?;
        Some(Self {
            holder: TokenHash(*holder),
            until: Instant::from_micros(u64::from_be_bytes(until.try_into().ok()?)),
        })
    }
}

/// The hash of the token of the mailbox that what somebody shows is for. A token of our own opens its mailbox too. What is
/// neither, or is over, gets a hash that nobody has and is looked up like the others.
pub(super) fn names(shown: &[u8], key: &SealKey, tokens: &TokenKey, now: Instant) -> TokenHash {
    let pass = Pass::open(shown, key).filter(|pass| now < pass.until);
    pass.map_or_else(|| tokens.hash(shown), |pass| pass.holder)
}

/// Whoever shows a token, right or wrong.
pub(super) struct Bearer {
    pub(super) holder: Holder,
    pub(super) hash: TokenHash,
}

impl Bearer {
    pub(super) fn new(app: &App, shown: &[u8]) -> Self {
        let now = app.cores.now();
        let hash = names(shown, &app.compat.mail_tm.tokens, &app.tokens, now);
        Self {
            holder: Holder::Token(hash),
            hash,
        }
    }
}

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let shown = bearer(&parts.headers).filter(|shown| !shown.is_empty());
        Ok(Self::new(app, shown.ok_or(Problem::Unauthorized)?))
    }
}

/// The answer to a right password. It has the same form for all who ask.
#[derive(Serialize)]
struct Given {
    id: String,
    token: String,
}

/// Gives a token to whoever shows the password of an address. An address that nobody has takes as long as a wrong password.
pub(super) async fn give(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let mut fields = body::object(&app, request).await?;
    let missing = Problem::BadBody("'address' and 'password' must be there, and be texts.");
    let address = body::text(&mut fields, "address").map_err(|_| missing.clone())?;
    let password = body::text(&mut fields, "password").map_err(|_| missing)?;
    let found = find(&app, address).await?;
    let kept = found.as_ref().map(|(_, kept)| kept);
    let is_right = passwords::is_right(&app, &password, kept).await?;
    let (holder, _) = found.filter(|_| is_right).ok_or(Problem::BadCredentials)?;
    let time = app.settings.load().compatibility.mail_tm_token_time.0;
    let until = app.cores.now().plus(time);
    let secrets = &app.compat.mail_tm;
    let given = Given {
        id: secrets.ids.account(&holder),
        token: Pass { holder, until }.seal(&secrets.tokens),
    };
    Ok(Json(given).into_response())
}

async fn find(app: &App, address: String) -> Result<Option<(TokenHash, Password)>, Problem> {
    let Ok(address) = Address::parse(address) else {
        return Ok(None);
    };
    let owner = app.cores.owner_of_address(&address);
    let asked = app
        .cores
        .call(owner, move |shard, now| shard.password(&address, now));
    asked.await.map_err(|Busy| Problem::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_mailbox_until_it_ends() {
        let (key, tokens) = (SealKey::draw("test"), TokenKey::draw());
        let pass = Pass {
            holder: TokenHash([7; 32]),
            until: Instant::from_secs(100),
        };
        let text = pass.seal(&key);
        let named = |secs| names(text.as_bytes(), &key, &tokens, Instant::from_secs(secs));
        assert_eq!(named(99), pass.holder);
        assert_ne!(named(100), pass.holder);
        assert_eq!(
            named(100),
            tokens.hash(text.as_bytes()),
            "looked up all the same"
        );
        let now = Instant::ZERO;
        let other = names(text.as_bytes(), &SealKey::draw("test"), &tokens, now);
        assert_ne!(other, pass.holder);
        for (shown, sealed) in [
            (&b"mf_ours"[..], None),
            (b"\xff", None),
            (b"", Some("short")),
        ] {
            let sealed = sealed.map(|plain| key.seal(plain.as_bytes()));
            let shown = sealed.as_deref().map_or(shown, str::as_bytes);
            assert_eq!(names(shown, &key, &tokens, now), tokens.hash(shown));
        }
    }
}

//! APIs of other services, beside ours: drop-in replacements for programs that speak them.
//!
//! Each has a room here and a switch in the section `[compatibility]`. A room has no store and no state of a client's: it asks
//! the cores through [`App::ask`] like our own API does, passes the same guard and the same limits, and gives whoever must
//! not see something the same answer as if it were not there. What it calls a token is sealed ([`sealed`]), not kept.
//!
//! # How a room is added
//!
//! 1. Its switch: a line in `Compatibility` in `src/config/sections.rs`, off by default. SIGHUP may turn it.
//! 2. Its label: a variant of `metrics::process::Route`, one for all its paths, so that no label comes from a stranger.
//! 3. A variant of [`Room`] here, with its switch, its label and its paths. Those are at the root of the public listener, where
//!    its clients expect them, and in no document of ours. [`Room::is_stream`] names those that stay open.
//! 4. Its folder, with `pub(super) fn routes() -> Router<Arc<App>>`, merged in [`router`]. Handlers answer with [`Problem`] like
//!    all others; nothing in them asks for the switch.
//! 5. Its words for errors, in [`Tongue`]: they are put on last of all, so what every request goes through (the limit of
//!    requests, sizes, times) is said in its words too.
//! 6. Its part of docs/compatibility.md, and a test that runs its clients against the binary.

mod form;
pub(super) mod guerrilla;
pub(super) mod inbucket;
pub(super) mod mail_tm;
mod one_sec_mail;
mod public;
pub(super) mod sealed;

use super::app::App;
use super::problem::Problem;
use crate::clock::Instant;
use crate::config::sections::Compatibility;
use crate::metrics::process::Route;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::http::header::CONTENT_LENGTH;
use std::sync::Arc;

/// An API of another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// GuerrillaMail.
    Guerrilla,
    /// Inbucket.
    Inbucket,
    /// mail.tm and mail.gw.
    MailTm,
    /// 1secmail.
    OneSecMail,
}

impl Room {
    const ALL: [Self; 4] = [
        Self::Guerrilla,
        Self::Inbucket,
        Self::MailTm,
        Self::OneSecMail,
    ];

    /// The room that a path belongs to, whether its switch is on or not.
    pub(super) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|room| room.has(path))
    }

    fn has(self, path: &str) -> bool {
        match self {
            Self::Guerrilla => guerrilla::has(path),
            Self::Inbucket => inbucket::has(path),
            Self::MailTm => mail_tm::has(path),
            Self::OneSecMail => one_sec_mail::has(path),
        }
    }

    /// The label of all its paths.
    pub(super) const fn label(self) -> Route {
        match self {
            Self::Guerrilla => Route::GuerrillaMail,
            Self::Inbucket => Route::Inbucket,
            Self::MailTm => Route::MailTm,
            Self::OneSecMail => Route::OneSecMail,
        }
    }

    /// Whether what answers at this path, which is one of its own, stays open.
    fn is_stream(self, path: &str) -> bool {
        match self {
            Self::Guerrilla | Self::OneSecMail => false,
            Self::Inbucket => inbucket::is_monitor(path),
            Self::MailTm => path == mail_tm::HUB,
        }
    }

    const fn is_on(self, switches: &Compatibility) -> bool {
        match self {
            Self::Guerrilla => switches.guerrilla_mail,
            Self::Inbucket => switches.inbucket,
            Self::MailTm => switches.mail_tm,
            Self::OneSecMail => switches.one_sec_mail,
        }
    }
}

/// Whether what answers at this path stays open.
pub(super) fn is_stream(path: &str) -> bool {
    Room::of(path).is_some_and(|room| room.is_stream(path))
}

/// The secrets of all rooms. They live and die with the process.
#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) guerrilla: guerrilla::Secrets,
    pub(super) mail_tm: mail_tm::Secrets,
}

impl Secrets {
    pub(super) fn draw(began: Instant) -> Self {
        Self {
            guerrilla: guerrilla::Secrets::draw(),
            mail_tm: mail_tm::Secrets::draw(began),
        }
    }
}

/// Whether a path is one of a room whose switch is off: then it is answered like a path that nothing has, before anybody looks
/// for its route.
pub(super) fn is_off(app: &App, path: &str) -> bool {
    let switches = &app.settings.load().compatibility;
    Room::of(path).is_some_and(|room| !room.is_on(switches))
}

/// The routes of all rooms, whether their switches are on or not.
pub(super) fn router() -> Router<Arc<App>> {
    let rooms = [
        guerrilla::routes(),
        inbucket::routes(),
        mail_tm::routes(),
        one_sec_mail::routes(),
    ];
    rooms.into_iter().fold(Router::new(), Router::merge)
}

/// In whose words a request is told of errors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tongue {
    /// Ours: problem details. Rooms have them, too, whose services had no form for errors.
    Ours,
    /// Those of GuerrillaMail.
    Guerrilla,
    /// Those of mail.tm, in the format that was asked for.
    MailTm(mail_tm::Format),
}

impl Tongue {
    /// That of whoever sent a request to the public side.
    pub(super) fn of(app: &App, request: &Request) -> Self {
        let room = Room::of(request.uri().path());
        match room.filter(|room| room.is_on(&app.settings.load().compatibility)) {
            Some(Room::MailTm) => Self::MailTm(mail_tm::Format::wanted(request.headers())),
            Some(Room::Guerrilla) => Self::Guerrilla,
            Some(Room::Inbucket | Room::OneSecMail) | None => Self::Ours,
        }
    }

    /// An answer in these words. One that is no error stays as it is.
    pub(super) fn put(self, mut answer: Response<Body>) -> Response<Body> {
        let Some(problem) = answer.extensions_mut().remove::<Problem>() else {
            return answer;
        };
        let said = match self {
            Self::Ours => return answer,
            Self::Guerrilla => guerrilla::errors::said(&problem),
            Self::MailTm(format) => mail_tm::errors::said(&problem, format),
        };
        let (parts, body) = said.into_parts();
        *answer.status_mut() = parts.status;
        answer.headers_mut().remove(CONTENT_LENGTH);
        answer.headers_mut().extend(parts.headers);
        *answer.body_mut() = body;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_one_room_at_most_and_ours_to_none() {
        for (path, room) in [
            ("/domains", Some(Room::MailTm)),
            (
                "/messages/66b9d17cf26da89c18382e2c/download",
                Some(Room::MailTm),
            ),
            ("/.well-known/mercure", Some(Room::MailTm)),
            ("/ajax.php", Some(Room::Guerrilla)),
            ("/inbox", Some(Room::Guerrilla)),
            ("/api/v1/mailbox/u", Some(Room::Inbucket)),
            ("/api/v1/mailbox/u/1/source", Some(Room::Inbucket)),
            ("/api/v1/monitor/messages", Some(Room::Inbucket)),
            ("/api/v2/monitor/messages/u", Some(Room::Inbucket)),
            ("/serve/mailbox/u/1/attach/0/a", Some(Room::Inbucket)),
            ("/api/v1/", Some(Room::OneSecMail)),
            ("/api/v1/mailbox/recover", None),
            ("/api/v1/mailbox/webhook", None),
            ("/api/v1/mailbox/webhook/test", None),
            ("/api/v2/monitor/messagesx", None),
            ("/domainsx", None),
            ("/", None),
            ("/api/v1/messages", None),
            ("/api/v1/mailbox", None),
            ("/view/x", None),
            ("/.refused", None),
        ] {
            let all = Room::ALL.into_iter().filter(|room| room.has(path));
            assert!(all.count() <= 1, "{path}");
            assert_eq!(Room::of(path), room, "{path}");
            let stays_open = path == mail_tm::HUB || path.contains("/monitor/messages");
            assert_eq!(is_stream(path), stays_open && room.is_some(), "{path}");
        }
    }

    #[test]
    fn all_are_off_unless_they_are_turned_on() {
        let switches = Compatibility::default();
        assert!(Room::ALL.iter().all(|room| !room.is_on(&switches)));
    }
}

//! The two forms of an answer: JSON-LD with Hydra, and plain JSON. What a client says it accepts decides.
//!
//! Clients depend on which they get. In JSON-LD a list is an object with `hydra:member` and everything has `@id` and
//! `@type`; in plain JSON a list is an array, and nothing has an `@`.

use super::asked::{self, PAGE};
use crate::clock::{Instant, WallClock};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// In which form a client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Format {
    /// JSON-LD with Hydra: what it gets unless it asks for the other.
    Hydra,
    /// Plain JSON.
    Plain,
}

/// What JSON-LD adds to a thing.
#[derive(Serialize)]
pub(super) struct Linked {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'static str>,
    #[serde(rename = "@id")]
    id: String,
    #[serde(rename = "@type")]
    kind: &'static str,
}

/// What a thing is called where it stands by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Account,
    Domain,
    Message,
    Source,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Account => "Account",
            Self::Domain => "Domain",
            Self::Message => "Message",
            Self::Source => "Source",
        }
    }

    const fn context(self) -> &'static str {
        match self {
            Self::Account => "/contexts/Account",
            Self::Domain => "/contexts/Domain",
            Self::Message => "/contexts/Message",
            Self::Source => "/contexts/Source",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Account => "/accounts",
            Self::Domain => "/domains",
            Self::Message => "/messages",
            Self::Source => "/sources",
        }
    }
}

impl Format {
    /// What the `Accept` fields of a request ask for.
    pub(in crate::control) fn wanted(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(header::ACCEPT).iter();
        match asked::prefers_plain(fields.map(HeaderValue::as_bytes)) {
            true => Self::Plain,
            false => Self::Hydra,
        }
    }

    /// What JSON-LD adds to a thing that stands by itself.
    pub(super) fn linked(self, kind: Kind, id: &str) -> Option<Linked> {
        let mut linked = self.listed(kind, id)?;
        linked.context = Some(kind.context());
        Some(linked)
    }

    /// The same in a list.
    pub(super) fn listed(self, kind: Kind, id: &str) -> Option<Linked> {
        (self == Self::Hydra).then(|| Linked {
            context: None,
            id: format!("{}/{id}", kind.path()),
            kind: kind.name(),
        })
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Hydra => "application/ld+json; charset=utf-8",
            Self::Plain => "application/json; charset=utf-8",
        }
    }

    /// An answer with one thing.
    pub(super) fn answer(self, status: StatusCode, view: &impl Serialize) -> Response<Body> {
        answer(status, self.media_type(), view)
    }

    /// An answer with one page of a list, of which there are `total` things in all.
    pub(super) fn page<T: Serialize>(
        self,
        kind: Kind,
        page: usize,
        total: usize,
        members: Vec<T>,
    ) -> Response<Body> {
        match self {
            Self::Plain => self.answer(StatusCode::OK, &members),
            Self::Hydra => {
                let collection = Collection {
                    context: kind.context(),
                    id: kind.path(),
                    kind: "hydra:Collection",
                    total,
                    view: View::new(kind, page, total),
                    members,
                };
                self.answer(StatusCode::OK, &collection)
            }
        }
    }
}

/// An answer in JSON.
pub(super) fn answer(
    status: StatusCode,
    media_type: &'static str,
    view: &impl Serialize,
) -> Response<Body> {
    let text = serde_json::to_vec(view).expect("a view has text keys only");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A page of a list.
#[derive(Serialize)]
struct Collection<T> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "@id")]
    id: &'static str,
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "hydra:totalItems")]
    total: usize,
    #[serde(rename = "hydra:member")]
    members: Vec<T>,
    #[serde(rename = "hydra:view", skip_serializing_if = "Option::is_none")]
    view: Option<View>,
}

/// Where the other pages are.
#[derive(Serialize)]
struct View {
    #[serde(rename = "@id")]
    id: String,
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "hydra:first")]
    first: String,
    #[serde(rename = "hydra:last")]
    last: String,
    #[serde(rename = "hydra:previous", skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(rename = "hydra:next", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl View {
    /// `None` when all there is fits on one page.
    fn new(kind: Kind, page: usize, total: usize) -> Option<Self> {
        let last = total.div_ceil(PAGE);
        let at = |page: usize| format!("{}?page={page}", kind.path());
        (last > 1).then(|| Self {
            id: at(page),
            kind: "hydra:PartialCollectionView",
            first: at(1),
            last: at(last),
            previous: (page > 1).then(|| at(page - 1)),
            next: (page < last).then(|| at(page + 1)),
        })
    }
}

/// A time as this API writes it: `2024-08-12T09:10:18+00:00`.
pub(super) fn date(wall: &WallClock, at: Instant) -> String {
    let mut date = wall.rfc3339(at);
    if date.pop() == Some('Z') {
        date.push_str("+00:00");
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_there_when_there_is_more_than_a_page() {
        let view = |page, total| View::new(Kind::Message, page, total);
        assert!(view(1, 0).is_none() && view(1, PAGE).is_none());
        let first = view(1, PAGE + 1).expect("two pages");
        assert_eq!(first.next.as_deref(), Some("/messages?page=2"));
        assert_eq!(
            (first.previous, first.last),
            (None, "/messages?page=2".to_owned())
        );
        let last = view(2, PAGE + 1).expect("two pages");
        assert_eq!(last.previous.as_deref(), Some("/messages?page=1"));
        assert_eq!(last.next, None);
        assert_eq!(view(9, PAGE + 1).expect("two pages").next, None);
    }

    #[test]
    fn dates_have_an_offset() {
        let wall = WallClock::new(Instant::ZERO, 1_795_341_600_000_000);
        assert_eq!(date(&wall, Instant::ZERO), "2026-11-22T10:00:00+00:00");
    }
}

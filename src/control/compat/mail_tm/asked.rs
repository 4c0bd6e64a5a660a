//! What clients of this API write, read: which form they accept, which page, which topic, which event, which attachment.
//!
//! Text in, values out, and nothing else: this file alone is what the fuzzer tries.

/// Things on one page of a list.
pub(super) const PAGE: usize = 30;

/// Stands behind the number of an event of which the account was told.
pub(super) const OF_ACCOUNT: &str = ".account";

/// What a client may ask the hub to begin with: all there is.
pub(super) const EARLIEST: &str = "earliest";

/// What the ids of attachments begin with.
const ATTACHMENT: &str = "ATTACH";

/// The cookie in which browsers' streams send their token.
const COOKIE: &[u8] = b"mercureAuthorization";

/// Whether plain JSON is liked best of what `Accept` fields name: by its quality and then by its place. What they do not name
/// is JSON-LD.
pub(super) fn prefers_plain<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let ranges = fields.flat_map(|field| field.split(|byte| *byte == b','));
    let mut best = (0, false);
    for (is_plain, quality) in ranges.filter_map(range) {
        if quality > best.0 {
            best = (quality, is_plain);
        }
    }
    best.1
}

/// Whether a media range means plain JSON or JSON-LD, and its quality in thousandths. `None` for any other.
fn range(range: &[u8]) -> Option<(bool, u16)> {
    let text = std::str::from_utf8(range).ok()?;
    let mut words = text.split(';').map(str::trim);
    let is_plain = match words.next()?.to_ascii_lowercase().as_str() {
        "application/json" => true,
        "application/ld+json" | "application/*" | "*/*" => false,
        _ => return None,
    };
    let quality = words.find_map(|word| {
        let (name, value) = word.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    // What is no number is as good as none.
    let quality = quality.and_then(|quality| quality.parse::<f32>().ok());
    let quality = quality.filter(|it| (0.0..=1.0).contains(it)).unwrap_or(1.0);
    Some((is_plain, (quality * 1_000.0) as u16))
}

/// The page that a query asks for, from 1 on; `None` if it is no number of a page. Nobody counts further than the last.
pub(super) fn page(query: Option<&str>) -> Option<usize> {
    let mut parameters = query.unwrap_or_default().split('&').rev();
    let page = parameters.find_map(|it| it.strip_prefix("page="));
    let Some(page) = page.filter(|page| !page.is_empty()) else {
        return Some(1);
    };
    let is_number = page.bytes().all(|byte| byte.is_ascii_digit());
    let page = page.parse().unwrap_or(usize::MAX / PAGE);
    (is_number && page > 0).then(|| page.min(usize::MAX / PAGE))
}

/// Whether a topic is that of the account with this id: its path, its address anywhere, or what stands for all accounts.
pub(super) fn is_topic_of(topic: &str, id: &str) -> bool {
    let path = match topic.split_once("://") {
        Some(("http" | "https", rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        _ => topic,
    };
    let named = path.strip_prefix("/accounts/");
    path == "*" || named.is_some_and(|named| named == id || named == "{id}")
}

/// Where a client goes on: after which event, and whether it knows how the account stood then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) event: u64,
    pub(super) knows_account: bool,
}

impl Since {
    /// What is no id of ours is as good as none.
    pub(super) fn read(id: &str) -> Option<Self> {
        let (number, knows_account) = match id.strip_suffix(OF_ACCOUNT) {
            Some(number) => (number, true),
            None if id == EARLIEST => ("0", false),
            None => (id, false),
        };
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let event = number.parse().ok().filter(|_| is_number)?;
        Some(Self {
            event,
            knows_account,
        })
    }
}

/// What the cookie for the hub holds, in one field of the head.
pub(super) fn cookie(field: &[u8]) -> Option<&[u8]> {
    let mut pairs = field.split(|byte| *byte == b';');
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(COOKIE)?;
        Some(value.strip_prefix(b"=")?.trim_ascii())
    })
}

/// The id of an attachment, by its number from 0.
pub(super) fn attachment_id(number: usize) -> String {
    format!("{ATTACHMENT}{:06}", number.saturating_add(1))
}

/// The number among the attachments, from 0, that an id names.
pub(super) fn attachment_number(id: &str) -> Option<usize> {
    let digits = id.strip_prefix(ATTACHMENT)?;
    let is_number = digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: usize = digits.parse().ok().filter(|_| is_number)?;
    // One attachment has one id.
    let is_short = digits.len() == 6 || !digits.starts_with('0');
    number.checked_sub(1).filter(|_| is_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_liked_best() {
        let (plain, linked) = (true, false);
        for (accept, wanted) in [
            (None, linked),
            (Some("*/*"), linked),
            (Some("application/json"), plain),
            (Some("Application/JSON; charset=utf-8"), plain),
            (Some("application/ld+json"), linked),
            (Some("application/json, text/plain, */*"), plain),
            (Some("*/*, application/json"), linked),
            (Some("*/*;q=0.1, application/json"), plain),
            (Some("application/json;q=0.5, application/ld+json"), linked),
            (Some("application/json; q=0, */*;q=0.1"), linked),
            (Some("application/json; q=0"), linked),
            (Some("text/html,application/xml;q=0.9"), linked),
            (Some("application/json;q=none"), plain),
            (Some(",;,=;q="), linked),
        ] {
            let fields = accept.into_iter().map(str::as_bytes);
            assert_eq!(prefers_plain(fields), wanted, "{accept:?}");
        }
    }

    #[test]
    fn pages_are_numbers_from_one_on() {
        let last = usize::MAX / PAGE;
        for (query, wanted) in [
            (None, Some(1)),
            (Some(""), Some(1)),
            (Some("page="), Some(1)),
            (Some("page=1"), Some(1)),
            (Some("order=x&page=17"), Some(17)),
            (Some("page=3&page=4"), Some(4)),
            (Some("page=0"), None),
            (Some("page=-1"), None),
            (Some("page=+1"), None),
            (Some("page=x"), None),
            (Some("page=99999999999999999999999999"), Some(last)),
        ] {
            assert_eq!(page(query), wanted, "{query:?}");
        }
    }

    #[test]
    fn a_topic_is_that_of_an_account_or_of_all() {
        let id = "66b66d9cfdf11bf4bf13e676";
        for (topic, is_theirs) in [
            ("/accounts/66b66d9cfdf11bf4bf13e676", true),
            (
                "https://api.mail.tm/accounts/66b66d9cfdf11bf4bf13e676",
                true,
            ),
            ("http://[::1]:8025/accounts/66b66d9cfdf11bf4bf13e676", true),
            ("*", true),
            ("/accounts/{id}", true),
            ("/accounts/66b66d9cfdf11bf4bf13e677", false),
            ("/accounts/66b66d9cfdf11bf4bf13e676/", false),
            ("/accounts/", false),
            ("accounts/66b66d9cfdf11bf4bf13e676", false),
            ("ftp://a/accounts/66b66d9cfdf11bf4bf13e676", false),
            ("https://api.mail.tm", false),
            ("", false),
        ] {
            assert_eq!(is_topic_of(topic, id), is_theirs, "{topic}");
        }
    }

    #[test]
    fn an_id_says_where_to_go_on() {
        let since = |event, knows_account| {
            Some(Since {
                event,
                knows_account,
            })
        };
        for (id, wanted) in [
            ("17", since(17, false)),
            ("17.account", since(17, true)),
            ("earliest", since(0, false)),
            ("", None),
            (".account", None),
            ("+1", None),
            ("urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(Since::read(id), wanted, "{id}");
        }
    }

    #[test]
    fn the_cookie_is_the_one_with_that_name() {
        for (field, token) in [
            ("mercureAuthorization=c", Some("c")),
            ("x=y; mercureAuthorization=c; z=", Some("c")),
            ("mercureAuthorization=", Some("")),
            ("xmercureAuthorization=c", None),
            ("mercureAuthorizationx=c", None),
            ("mercureAuthorization", None),
            ("", None),
        ] {
            assert_eq!(
                cookie(field.as_bytes()),
                token.map(str::as_bytes),
                "{field}"
            );
        }
    }

    #[test]
    fn ids_of_attachments_count_from_one() {
        for (id, number) in [
            ("ATTACH000001", Some(0)),
            ("ATTACH000012", Some(11)),
            ("ATTACH1000000", Some(999_999)),
            ("ATTACH000000", None),
            ("ATTACH0000001", None),
            ("ATTACH1", None),
            ("attach000001", None),
            ("ATTACH00000x", None),
            ("ATTACH+00001", None),
            ("ATTACH99999999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(attachment_number(id), number, "{id}");
            if let Some(number) = number {
                assert_eq!(attachment_id(number), id);
            }
        }
    }
}

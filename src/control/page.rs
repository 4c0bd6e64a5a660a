//! The web page: one document and the files that it loads, all of them built into the binary.
//!
//! They are the same for everybody. The files stand under a path that has the hash of them all in it,
//! so a browser may keep them for ever; the document names that path and is asked for each time.
//! What the page may do is said by its policy: no script but its own, nothing from elsewhere, and no
//! text that becomes markup.

use super::problem::Problem;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use std::sync::OnceLock;

/// What the page may do. Mail stands in frames of ours that have a stricter policy of their own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What browsers offer to pages and this one has no use for.
const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), \
    payment=(), serial=(), usb=()";

/// Where in the document the path of the files goes.
const PLACE: &str = "{assets}";

/// How much of their hash is in the path of the files, in bytes: enough that two versions never share one.
const HASH_BYTES: usize = 12;

const DOCUMENT: &str = include_str!("page/index.html");

/// A file that the page loads.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// The files, by one line each.
macro_rules! files {
    ($($kind:literal: $($name:literal)+;)+) => {
        &[$($(File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("page/", $name)),
        },)+)+]
    };
}

const FILES: &[File] = files! {
    "image/svg+xml": "mark.svg";
    "text/css; charset=utf-8": "page.css";
    "text/javascript; charset=utf-8":
        "app.js" "api.js" "boxes.js" "dialogs.js" "dom.js" "proof.js" "qr.js" "reader.js" "words.js";
    "text/plain; charset=utf-8":
        "lang/ar.txt" "lang/de.txt" "lang/en.txt" "lang/es.txt" "lang/fr.txt" "lang/ja.txt"
        "lang/pt.txt" "lang/zh.txt";
};

/// The page as it is handed out.
struct Page {
    /// The hash in the path of the files.
    hash: String,
    document: Bytes,
    tag: HeaderValue,
}

impl Page {
    fn get() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(|| {
            let mut all = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
            all.update(DOCUMENT.as_bytes());
            for file in FILES {
                all.update(file.name.as_bytes());
                all.update(file.bytes);
            }
            let hash = HEXLOWER.encode(&all.finish().as_ref()[..HASH_BYTES]);
            let tag = HeaderValue::from_str(&format!("\"{hash}\""));
            Self {
                document: DOCUMENT.replace(PLACE, &format!("/assets/{hash}")).into(),
                tag: tag.unwrap_or_else(|_| unreachable!("hexadecimal digits and quotes")),
                hash,
            }
        })
    }
}

/// Whether whoever asks is a browser that wants a page to show.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT);
    accepted.iter().any(|accepted| {
        let kinds = accepted.as_bytes().split(|byte| *byte == b',');
        kinds.into_iter().any(|kind| {
            let essence = kind.split(|byte| *byte == b';').next();
            essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"text/html"))
        })
    })
}

/// The document. Browsers ask each time whether there is a new one.
pub(super) fn document(headers: &HeaderMap) -> Response {
    let page = Page::get();
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known
        .flat_map(|known| known.as_bytes().split(|byte| *byte == b','))
        .any(|known| {
            let known = known.trim_ascii();
            known.strip_prefix(b"W/").unwrap_or(known) == page.tag.as_bytes()
        });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        page.document.clone().into_response()
    };
    let fields = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "accept"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields.insert(header::ETAG, page.tag.clone());
    response
}

/// One of the files that the page loads. Its path changes when any of them does, so it may be kept.
pub(super) async fn file(Path((hash, name)): Path<(String, String)>) -> Result<Response, Problem> {
    let is_ours = hash == Page::get().hash;
    let file = FILES.iter().find(|file| is_ours && file.name == name);
    let file = file.ok_or(Problem::NoSuchRoute)?;
    let mut response = Bytes::from_static(file.bytes).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, file.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;

//! A message as people read it: text, harmless HTML, attachments with safe names, header fields,
//! one-time codes and verification links.
//!
//! Mail is taken apart when somebody reads it, never when it comes in, so nothing here can slow or
//! stop the front door. Bytes come in, values go out. Every walk is a loop over the bytes, never a
//! recursion, and takes time in proportion to them; all counts have limits. Nested messages and
//! archives are never opened: they are attachments.
//!
//! What needs the libraries of the outer ring (character sets, the HTML sanitiser) is compiled with
//! it; limits, names, codes and links are not in need of any.

#![forbid(unsafe_code)]

pub mod codes;
pub mod names;
mod words;

#[cfg(feature = "reading")]
mod decode;
#[cfg(feature = "reading")]
pub mod fields;
#[cfg(feature = "reading")]
pub mod html;
#[cfg(feature = "reading")]
pub mod message;
#[cfg(feature = "reading")]
pub mod removal;
#[cfg(feature = "reading")]
mod structure;
#[cfg(feature = "reading")]
mod tokens;

use crate::settings::{Bytes, settings};

settings! {
    /// How messages are taken apart for people to read. All of it happens when somebody reads, on threads of the HTTP side.
    pub struct Limits {
        /// Messages that are taken apart at the same time. Price: a thread each while it lasts, and up to three times the size of the message. Other readers wait.
        pub at_once: u32 = 2,
        /// Parts of a message that are looked at; what follows is only in the source. Price: 300 bytes each while it is read.
        pub parts_max: u32 = 1_000,
        /// How deep parts may be nested; what lies deeper is shown as an attachment. Price: one comparison for each level and each line that begins with two dashes.
        pub depth_max: u32 = 64,
        /// The most text that is shown of a message; the rest is cut. Price: up to four times this while a message is read.
        pub text_bytes_max: Bytes = Bytes::mib(1),
        /// The most HTML that is shown of a message; the rest is cut. Price: up to ten times this while a message is read.
        pub html_bytes_max: Bytes = Bytes::mib(1),
        /// HTML elements that are shown of a message; the rest is text. Price: up to 4 KiB each while a message is read.
        pub html_elements_max: u32 = 20_000,
        /// Images inside a message that are put into its HTML, all together; larger ones stay attachments. Price: four thirds of it in the answer.
        pub inline_bytes_max: Bytes = Bytes::mib(1),
        /// Lists and event streams look for codes and links only in messages up to this size. Price: about 10 ms of a thread for each MiB.
        pub scan_bytes_max: Bytes = Bytes::kib(256),
        /// Messages of one page of a list, the newest, in which codes and links are looked for. The others say nothing about it.
        pub scans_per_page_max: u32 = 20,
    }
}

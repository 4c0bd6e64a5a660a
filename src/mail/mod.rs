//! Mail as data: addresses, the byte budget, bodies, messages, trace headers.

#![forbid(unsafe_code)]

pub mod address;
pub mod body;
pub mod encryption_key;
pub mod ledger;
pub mod message;
pub mod quota;
pub mod trace;

pub use address::{Address, Recipient, ReversePath};
pub use body::{Body, BodyWriter};
pub use encryption_key::EncryptionKey;
pub use ledger::{Ledger, Reservation};
pub use message::Message;

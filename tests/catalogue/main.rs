//! The catalogue of attacks: every row is a test that is named by it.
//!
//! The rows that need no socket are played here against a real session with real mailboxes; what
//! needs TLS, sockets or other processes stands in the tests that [`rows`] names. Judged is what
//! the mailboxes hold, never the replies alone.

#![forbid(unsafe_code)]

mod a;
mod b;
mod c;
mod case;
mod d;
mod e;
mod f;
mod g;
#[path = "../harness/mod.rs"]
mod harness;
mod house;
mod normalized;
mod rows;
mod synchronized;
#[path = "../world/mod.rs"]
mod world;

//! mayfly: a front-line mail exchanger whose mail lives only in RAM, and only for a while.
//!
//! The house has two rings. The **inner ring** decides: it has no socket, no clock, no thread, no
//! lock and no unsafe code; bytes, time and randomness come in as arguments and actions go out as
//! values. The **outer ring** (feature `server`) acts: the data plane in `edge`, the control
//! plane in `control`.
//!
//! Modules stand in the order of their floors: each uses only what stands above it in this list
//! (`tests/tidy.rs` holds that).

#![deny(unsafe_code)]

// Floor 1: values.
pub mod clock;
pub mod filter;
pub mod metrics;
pub mod settings;
pub mod slab;

// Floor 2: mail as data, the timer wheel, and breakers.
pub mod breaker;
pub mod mail;
pub mod wheel;

// Floor 3: the four deciding rooms, which do not know one another.
pub mod policy;
pub mod reading;
pub mod smtp;
pub mod store;

// Floor 4: one file that says how all of it behaves.
pub mod config;

// Floor 5: the outer ring.
#[cfg(feature = "server")]
pub mod control;
#[cfg(feature = "server")]
pub mod edge;

// Floor 6: both planes, started and stopped.
#[cfg(feature = "server")]
pub mod server;

// Floor 7: what a person asks for at a terminal.
#[cfg(feature = "server")]
pub mod cli;

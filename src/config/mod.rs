//! One file that says how all of it behaves.

#![forbid(unsafe_code)]

pub mod sections;

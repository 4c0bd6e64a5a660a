//! What is measured, for the programs that take its time and the one that counts its instructions.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each program takes what it measures")]

pub(crate) mod mailboxes;
pub(crate) mod protocol;

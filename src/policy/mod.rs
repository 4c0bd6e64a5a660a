//! Pure decisions on evidence: who may connect, and where mail may go.

#![forbid(unsafe_code)]

pub mod admission;
pub mod network;
pub mod recipients;

//! Pure decisions on evidence: who may connect and how often, under which pressure, and where mail may go.

#![forbid(unsafe_code)]

pub mod admission;
pub mod attachments;
pub mod clients;
pub mod network;
pub mod pressure;
pub mod recipients;
pub mod self_authenticating;
pub mod window;

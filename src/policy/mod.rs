//! Pure decisions on evidence: who may connect and how often, under which pressure, where mail may go, and what each plan grants.

#![forbid(unsafe_code)]

pub mod admission;
pub mod attachments;
pub mod clients;
pub mod destinations;
pub mod network;
pub mod plans;
pub mod pressure;
pub mod recipients;
pub mod self_authenticating;
pub mod webhooks;
pub mod window;

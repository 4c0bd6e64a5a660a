//! Who may connect.

#![forbid(unsafe_code)]

use crate::settings::settings;

settings! {
    /// Who may connect.
    pub struct Rules {
        /// SMTP connections open at once. 0 means no limit.
        pub connections_max: u32 = 50_000,
        /// SMTP connections that one client address (/64 for IPv6) may hold. 0 means no limit.
        pub connections_per_client_max: u32 = 50,
        /// New SMTP connections a second. 0 means no limit.
        pub connections_per_second_max: u32 = 1_000,
        /// New connections are turned away when this share of the memory budget is used. 0 means no limit.
        pub memory_percent_max: u32 = 95,
    }
}

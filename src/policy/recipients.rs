//! Where mail may go.

#![forbid(unsafe_code)]

use crate::settings::{choices, settings};

settings! {
    /// Where mail may go.
    pub struct Rules {
        /// The domains that mail is accepted for. mayfly never relays to others.
        pub domains: Vec<String> = vec!["mayfly.test".to_owned()],
        /// Which addresses at these domains take mail.
        pub accept: Accept = Accept::Created,
        /// Local parts that nobody may create.
        pub reserved_local_parts: Vec<String> = vec!["postmaster".to_owned(), "abuse".to_owned()],
    }
}

choices! {
    /// Which addresses take mail.
    pub enum Accept {
        /// Those that somebody created.
        Created = "created",
        /// All of them; whoever creates one later gets what it holds.
        Any = "any",
    }
}

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

use crate::mail::Address;

/// Why an address may not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefusal {
    /// Its domain is not ours.
    ForeignDomain,
    /// Its local part is reserved.
    Reserved,
}

/// Whether somebody may create this address.
///
/// # Errors
/// Why not.
pub fn may_create(address: &Address, rules: &Rules) -> Result<(), CreateRefusal> {
    if !rules
        .domains
        .iter()
        .any(|domain| domain == address.domain())
    {
        return Err(CreateRefusal::ForeignDomain);
    }
    let reserved = &rules.reserved_local_parts;
    if reserved.iter().any(|local| local == address.local()) {
        return Err(CreateRefusal::Reserved);
    }
    Ok(())
}

//! What is answered, as types: the JSON and its description in the API's document both come from them.
//!
//! Fields stand in the order in which people want to read them. None of these can be printed with `{:?}`: they
//! hold mail, addresses and tokens.

pub(super) mod mailboxes;
pub(super) mod messages;

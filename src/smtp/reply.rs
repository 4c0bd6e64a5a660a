//! Every reply, in one table.

#![forbid(unsafe_code)]

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 550 5.1.1
    NoSuchMailbox,
    /// 550 5.7.1
    RelayDenied,
    /// 452 4.2.2
    MailboxFull,
    /// 452 4.3.1
    NoMemory,
    /// 451 4.3.2
    TryLater,
}

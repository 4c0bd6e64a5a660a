//! The trace headers that mayfly adds (RFC 5321 section 4.4).

#![forbid(unsafe_code)]

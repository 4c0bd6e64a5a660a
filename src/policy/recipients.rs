//! (recipients)

//! The metrics page of the manual is what the code declares.

#![forbid(unsafe_code)]

use std::fs;

#[test]
fn the_manual_lists_what_is_declared() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let manual = mayfly::metrics::manual();
    if std::env::var_os("MAYFLY_REWRITE").is_some() {
        fs::write(path, &manual).expect("docs/ can be written");
    }
    let written = fs::read_to_string(path).expect("docs/metrics.md exists");
    assert!(
        written == manual,
        "docs/metrics.md differs: MAYFLY_REWRITE=1 cargo test --test metrics"
    );
}

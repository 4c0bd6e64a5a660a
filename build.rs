//! Tells the program what it was built from: the commit and the compiler, which `mayfly_build_info` shows.
//!
//! `MAYFLY_COMMIT` says the commit where there is no repository (packages, containers). Without it a release build asks
//! git, and is made anew with every commit; other builds are not, and say `unknown` rather than something stale.

#![allow(clippy::print_stdout)] // This is how a build script speaks to cargo.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MAYFLY_COMMIT");
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = env::var("MAYFLY_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(|| release.then(from_git).flatten());
    let commit = commit.as_deref().map_or("unknown", str::trim);
    println!("cargo:rustc-env=MAYFLY_COMMIT={}", plain(commit));
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = said(&compiler, &["--version"]).unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-04-14)"
    let version = version.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=MAYFLY_RUSTC={}", plain(version));
}

fn from_git() -> Option<String> {
    // Grows with every commit, merge and checkout, in linked work trees too.
    if let Some(log) = said("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={}", log.trim());
    }
    said("git", &["rev-parse", "--short=12", "HEAD"])
}

/// What a program says when it succeeds.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// What may stand in the value of a label without being escaped.
fn plain(text: &str) -> String {
    let fits = |character: &char| character.is_ascii_alphanumeric() || "-.+_".contains(*character);
    text.chars().filter(fits).take(64).collect()
}

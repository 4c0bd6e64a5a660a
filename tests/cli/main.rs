//! The command line as a person meets it: exit codes, data on stdout, messages on stderr.
#![cfg(feature = "server")]

mod fake;
#[path = "../gateway/mod.rs"]
mod gateway;
mod logs;
mod mailbox;
mod operator;
mod pages;
mod user;

use std::path::Path;
use user::mayfly;

#[test]
fn help_and_version_are_data() {
    let (code, stdout, stderr) = mayfly(&["--version"], &[]);
    let version = concat!("mayfly ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (Some(0), version, "")
    );
    let (code, stdout, _) = mayfly(&["--help"], &[]);
    assert_eq!(code, Some(0));
    for word in [
        "serve",
        "check-config",
        "config",
        "Exit codes: 0",
        "MAYFLY__SECTION__KEY",
    ] {
        assert!(stdout.contains(word), "{word} is missing in\n{stdout}");
    }
}

#[test]
fn the_stored_files_are_in_order_and_checking_prints_no_data() {
    for file in ["config/mayfly.toml", "config/loadtest.toml"] {
        let (code, stdout, stderr) = mayfly(&["check-config", file], &[]);
        assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    }
}

#[test]
fn printed_settings_can_be_read_again() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let variables = [("MAYFLY__SERVER__HOSTNAME", "mx.example.com")];
    let (code, printed, _) = mayfly(
        &["check-config", "config/loadtest.toml", "--print-effective"],
        &variables,
    );
    assert_eq!(code, Some(0));
    assert!(
        printed.contains("# environment, MAYFLY__SERVER__HOSTNAME"),
        "{printed}"
    );
    let again = folder.join("printed.toml");
    std::fs::write(&again, &printed).expect("can be written");
    let (code, _, stderr) = mayfly(&["check-config", &again.to_string_lossy()], &[]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn the_manual_is_data() {
    let stored = |path| std::fs::read_to_string(path).expect("is stored");
    assert_eq!(
        mayfly(&["config", "defaults"], &[]).1,
        stored("config/mayfly.toml")
    );
    assert_eq!(
        mayfly(&["config", "docs"], &[]).1,
        stored("docs/configuration.md")
    );
}

#[test]
fn wrong_arguments_and_wrong_settings_are_2() {
    let cases = [
        ("--bogus", "UNRELATED=1", "--bogus"),
        (
            "serve --config no/such/file.toml",
            "UNRELATED=1",
            "cannot read no/such/file.toml",
        ),
        ("check-config Cargo.toml", "UNRELATED=1", "--> Cargo.toml:"),
        (
            "check-config",
            "MAYFLY__SERVER__CORE=1",
            "did you mean MAYFLY__SERVER__CORES?",
        ),
        (
            "--config config/mayfly.toml",
            "MAYFLY__SMTP__RECIPIENTS_MAX=1",
            "write 100 or more",
        ),
    ];
    for (arguments, variable, said) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let variable = variable.split_once('=').expect("a name and a value");
        let (code, stdout, stderr) = mayfly(&arguments, &[variable]);
        assert_eq!(
            (code, stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

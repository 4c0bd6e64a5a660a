//! The generator and the runner against the real binary, over real sockets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LOAD: &str = env!("CARGO_BIN_EXE_mayfly-load");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("loadtest is in the repository")
}

/// mayfly's binary of the same build. Where the whole workspace is tested it is there; cargo makes it if it is not.
fn gateway() -> PathBuf {
    let folder = Path::new(LOAD).parent().expect("a folder of the build");
    let binary = folder.join("mayfly");
    if binary.exists() {
        return binary;
    }
    let release = folder.file_name().is_some_and(|name| name == "release");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--bin", "mayfly", "--target-dir"])
        .arg(folder.parent().expect("a folder for builds"));
    if release {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success());
    binary
}

fn load(arguments: &[&str]) -> Output {
    Command::new(LOAD)
        .current_dir(root())
        .args(arguments)
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(errors)
    )
}

#[test]
fn what_was_sent_is_found_in_the_clear_in_tls_and_behind_a_proxy() {
    let gateway = gateway();
    let binary = gateway.to_str().expect("a path in UTF-8");
    for scenario in ["recipients", "tls-chunking", "proxy", "events"] {
        let run = load(&["run", scenario, "--quick", "--binary", binary]);
        let said = said(&run);
        assert!(run.status.success(), "{scenario}: {said}");
        assert!(said.contains("passed"), "{scenario}: {said}");
    }
}

#[test]
fn other_targets_than_this_machine_are_refused() {
    for target in ["192.0.2.1:25", "0.0.0.0:25", "[2001:db8::1]:25"] {
        let refused = load(&["send", target]);
        assert_eq!(refused.status.code(), Some(2), "{target}");
        assert!(
            said(&refused).contains("not a loopback address"),
            "{target}"
        );
    }
}

#[test]
fn what_does_not_reach_its_threshold_fails() {
    // Nobody listens where a socket was a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let failed = load(&["send", &target, "--messages", "3", "--sessions", "1"]);
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    assert!(
        said(&failed).contains("failed: 3, more than 0"),
        "{}",
        said(&failed)
    );
}

#[test]
fn an_unknown_scenario_names_those_that_there_are() {
    let unknown = load(&["run", "clasic", "--quick"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(said(&unknown).contains("classic"), "{}", said(&unknown));
}

//! The API against its document, by schemathesis: whatever the document allows is tried, whatever it forbids too, and
//! calls that follow from one another. No answer may be a server's error, and none may be another than described.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

mod gateway;

use gateway::{Gateway, OPEN_DOORS, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the Python environment that tests/setup makes.
fn python_tool(name: &str) -> Command {
    let path: PathBuf = root().join("target/schemathesis/bin").join(name);
    assert!(
        path.exists(),
        "{path:?} is missing: tests/setup installs it"
    );
    let mut command = tools::program(&path.to_string_lossy());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
fn k07_schemathesis_finds_no_server_error_and_nothing_that_is_not_described() {
    let settings =
        format!("{OPEN_DOORS}\n[http]\nconnections_per_client_max = 0\nwait_max = \"1s\"\n");
    let gateway = Gateway::start(&settings);
    let url = format!("http://{}", gateway.http);
    let ours = root().join("tests/openapi");
    let said = tools::succeed(
        python_tool("schemathesis")
            .arg("--config-file")
            .arg(ours.join("schemathesis.toml"))
            .args(["run", "--url", &url])
            .arg(root().join("docs/openapi.json"))
            // It leaves things behind where it runs.
            .current_dir(gateway.folder())
            .env("HYPOTHESIS_STORAGE_DIRECTORY", gateway.folder())
            .env("SCHEMATHESIS_HOOKS", ours.join("hooks.py"))
            .env("MAYFLY_HTTP", &url)
            .env("MAYFLY_SMTP", gateway.smtp.to_string()),
        "",
    );
    assert!(said.contains("No issues found"), "{said}");
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        assert!(
            said.contains(&format!("\u{2705} {phase}")),
            "{phase}: {said}"
        );
    }
}

#[test]
fn every_example_of_the_document_is_valid() {
    let said = tools::succeed(
        python_tool("python")
            .arg(root().join("tests/openapi/examples.py"))
            .arg(root().join("docs/openapi.json")),
        "",
    );
    assert!(said.trim().ends_with("examples are valid"), "{said}");
}

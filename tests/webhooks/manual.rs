//! The programs of docs/webhooks.md, run as a reader would run them.

use crate::gateway::tools;
use crate::receiver::Call;
use std::path::Path;
use std::process::Command;

/// The first block of the page in this language.
fn block(page: &str, language: &str) -> String {
    let opening = format!("\n```{language}\n");
    let (_, rest) = page.split_once(&opening).expect("it is there");
    rest.split_once("\n```").expect("it ends").0.to_owned()
}

fn run(mut command: Command, call: &Call, secret: &str) -> bool {
    command
        .env("SECRET", secret)
        .env("WEBHOOK_ID", call.field("webhook-id"))
        .env("WEBHOOK_TIMESTAMP", call.field("webhook-timestamp"))
        .env("WEBHOOK_SIGNATURE", call.field("webhook-signature"));
    tools::run(&mut command, &call.body).status.success()
}

/// What each program of the page says of a call.
pub(crate) fn verdicts(call: &Call, secret: &str) -> Vec<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/webhooks.md")).expect("it is there");
    let mut python = tools::program(
        root.join("target/agents/bin/python")
            .to_str()
            .expect("text"),
    );
    python.args(["-c", &block(&page, "python")]);
    let mut node = tools::program("node");
    node.args(["--input-type=module", "--eval", &block(&page, "js")]);
    let mut shell = tools::program("bash");
    shell.args(["-c", &block(&page, "sh")]);
    [python, node, shell]
        .map(|command| run(command, call, secret))
        .into()
}

//! What whoever runs a server asks: status, doctor, top.

use crate::gateway::{Gateway, OPEN_DOORS, poll, tools};
use crate::user::User;
use serde_json::{Value, json};
use std::net::TcpListener;

/// A gateway that holds a message.
fn busy() -> (Gateway, User) {
    let gateway = Gateway::start(OPEN_DOORS);
    let (address, _) = gateway.create("busy");
    assert!(
        gateway
            .deliver(&address, "Subject: x\r\n\r\nx\r\n")
            .starts_with("250")
    );
    let user = User::of(&gateway, "operator");
    (gateway, user)
}

#[test]
fn a_status_says_how_a_server_does() {
    let (mut gateway, user) = busy();
    let status = user.json("status --json");
    assert_eq!(
        (&status["phase"], &status["pressure"]["level"]),
        (&json!("ready"), &json!("normal"))
    );
    let sum = |name: &str| -> u64 {
        let cores = status["cores"].as_array().expect("cores");
        cores.iter().filter_map(|core| core[name].as_u64()).sum()
    };
    assert_eq!(
        (sum("mailboxes"), sum("messages"), sum("accepted")),
        (1, 1, 1)
    );
    assert!(status["memory"]["used"].as_u64() > Some(0));
    let words = user.succeeds("status");
    for line in ["phase       ready", "mailboxes   1", "messages    1"] {
        assert!(words.contains(line), "{line} in {words}");
    }
    assert!(gateway.stop().success());
    let said = user.fails("status", 1);
    assert!(
        said.contains("cannot reach") && said.contains("MAYFLY_OPERATOR"),
        "{said}"
    );
    let said: Value = serde_json::from_str(&user.fails("status --json", 1)).expect("JSON");
    assert_eq!(said["error"]["code"], "unreachable");
}

#[test]
fn top_prints_a_frame_where_there_is_no_terminal_and_gives_a_terminal_back() {
    let (mut gateway, user) = busy();
    let page = user.succeeds("top --interval 100ms");
    for part in ["mayfly ", "pressure normal", "connections", "refused"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let status = user.json("status --json");
    let cores = status["cores"].as_array().expect("cores").len();
    assert!(
        !page.contains('\u{1b}') && page.lines().count() == 24 + cores,
        "{page}"
    );

    // On a terminal it begins and ends the other screen, whether a key or a signal ends it.
    let binary = env!("CARGO_BIN_EXE_mayfly");
    let told_to_end = format!(
        "sh -c 'p=$$; (until stty -a </dev/tty | grep -q -- -icanon; do :; done; kill -TERM $p) & exec {binary} top'"
    );
    for (keys, line) in [("q", format!("{binary} top")), ("", told_to_end)] {
        let line = format!(
            "stty rows 24 cols 80; {line} && stty -a | tr ';' '\n' | grep -o -- '-*icanon'"
        );
        let mut command = user.command("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let output = tools::run(&mut command, keys);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("pressure"), "{shown:?}");
        let (open, close) = (shown.find("\u{1b}[?1049h"), shown.rfind("\u{1b}[?1049l"));
        assert!(open.is_some() && open < close, "{shown:?}");
        assert!(
            shown.trim_end().ends_with("icanon") && !shown.trim_end().ends_with("-icanon"),
            "{shown:?}"
        );
    }
    assert!(gateway.stop().success());
    assert!(user.fails("top", 1).contains("cannot reach"));
}

/// What doctor found of one thing.
fn finding(report: &Value, check: &str) -> Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.expect(check).clone()
}

#[test]
fn a_doctor_looks_at_the_limits_of_the_mayfly_that_serves() {
    let (gateway, user) = busy();
    let operator = format!("[listen]\noperator = [\"{}\"]\n", gateway.ports.operator);
    std::fs::write(user.home().join("mayfly.toml"), operator).expect("written");
    let process = user.json("status --json")["process"].to_string();
    assert_eq!(process, gateway.pid().to_string());
    let mut lower = user.command("prlimit");
    lower.args(["--pid", &process, "--nofile=1234:1234"]);
    assert!(tools::run(&mut lower, "").status.success());
    let (_, report, _) = user.runs("doctor --config mayfly.toml --no-dns --json");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let files = finding(&report, "open files");
    assert_eq!(files["verdict"], "warn", "{files}");
    let found = files["found"].to_string();
    let whose = format!("for the mayfly that runs (process {process})");
    assert!(
        found.contains("1234 in each") && found.contains(&whose),
        "{found}"
    );
}

#[test]
fn a_doctor_looks_at_the_machine_for_the_settings() {
    let (mut gateway, user) = busy();
    let ports = gateway.ports;
    let file = user.home().join("mayfly.toml");
    let settings = |more: &str| {
        let text = format!(
            "[listen]\nsmtp = [\"{}\"]\nsmtps = [\"{}\"]\nhttp = [\"{}\"]\noperator = [\"{}\"]\n{more}",
            ports.smtp, ports.smtps, ports.http, ports.operator
        );
        std::fs::write(&file, text).expect("written");
    };
    settings("");
    let report = user.json("doctor --config mayfly.toml --no-dns --json");
    for check in ["settings", "kernel", "io_uring", "port"] {
        assert_eq!(finding(&report, check)["verdict"], "ok", "{report}");
    }
    let port = finding(&report, "port")["found"].to_string();
    assert!(port.contains("a mayfly that runs"), "{port}");

    let chain = user.home().join("chain.pem");
    settings(&format!(
        "[[tls.certificates]]\nchain = \"{0}\"\nkey = \"{0}\"\n[store]\nmemory = \"900 TiB\"\n",
        chain.display()
    ));
    let (code, report, _) = user.runs("doctor -c mayfly.toml --no-dns --json");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((code, &report["verdict"]), (Some(1), &json!("fail")));
    for check in ["memory", "certificate"] {
        let finding = finding(&report, check);
        assert_eq!(finding["verdict"], "fail", "{finding}");
        assert!(finding["why"].is_string(), "{finding}");
    }
    assert!(gateway.stop().success());
    let stranger = poll(|| TcpListener::bind(ports.smtp).map_err(|why| why.to_string()));
    settings("[server]\ncore = 1\n");
    let (code, words, summary) = user.runs("doctor -c mayfly.toml --no-dns");
    assert_eq!(code, Some(1), "{words}");
    assert!(
        words.contains("fail  settings") && words.contains("did you mean"),
        "{words}"
    );
    assert!(summary.contains("that will not do"), "{summary}");
    settings("");
    let (_, words, _) = user.runs("doctor -c mayfly.toml --no-dns");
    assert!(
        words.contains(&format!("somebody else listens on {}", ports.smtp)),
        "{words}"
    );
    assert!(words.contains("fix: ss -ltnp"), "{words}");
    drop(stranger);
}

//! The files in `config/` by themselves: complete, tidy, and understood by the programs that read them.

use crate::board::{ANNOTATIONS, Board, Look, expand};
use crate::gateway::tools::{program, succeed};
use crate::{BOARDS, filled_in, names_in, path, read, selectors};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const ALERTS: &str = "config/prometheus/rules/alerts.yml";
const RECORDING: &str = "config/prometheus/rules/recording.yml";
const ALERTMANAGER: &str = "config/alertmanager/alertmanager.yml";
const RULE_TESTS: [&str; 2] = [
    "tests/observability/rules.yml",
    "tests/observability/rules-slow.yml",
];

fn file_of(board: &Board) -> String {
    format!("config/grafana/dashboards/{}.json", board.uid)
}

#[test]
fn the_stored_dashboards_are_what_the_tables_say() {
    for board in BOARDS {
        let name = file_of(board);
        if std::env::var_os("MAYFLY_REWRITE").is_some() {
            std::fs::write(path(&name), board.file()).expect("config/ can be written");
        }
        assert!(
            read(&name) == board.file(),
            "{name} differs: MAYFLY_REWRITE=1 cargo test --test observability stored"
        );
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() {
    let mut uids = BTreeSet::new();
    for board in BOARDS {
        assert!(uids.insert(board.uid), "{} is there twice", board.uid);
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            let title = panel.title;
            assert!(titles.insert(title), "{title} is there twice");
            assert!(
                panel.about.ends_with('.') && !panel.unit.is_empty(),
                "{title}"
            );
            assert!(!panel.queries.is_empty() && panel.width <= 24, "{title}");
            for (expression, legend) in panel.expressions() {
                assert!(!legend.is_empty(), "{title}");
                let rates =
                    expression.matches("rate(").count() + expression.matches("increase(").count();
                let intervals = expression.matches("[$__rate_interval]").count();
                assert_eq!(rates, intervals, "{title}: {expression}");
                // A heatmap takes the name of a bucket from its label.
                assert_eq!(panel.look == Look::Heatmap, legend == "{{le}}", "{title}");
            }
        }
    }
}

/// The colours of a panel as Grafana reads them, from the lowest value up, and where each begins.
fn colours(panel: &Value) -> Vec<(f64, String)> {
    let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
    let steps = steps.as_array().into_iter().flatten();
    steps
        .map(|step| {
            let from = step["value"].as_f64().unwrap_or(f64::NEG_INFINITY);
            (from, step["color"].as_str().expect("a colour").to_owned())
        })
        .collect()
}

fn panel_of(title: &str) -> Value {
    let boards: Vec<Value> = BOARDS.iter().map(|board| board.json()).collect();
    let panels = boards
        .iter()
        .flat_map(|board| board["panels"].as_array().into_iter().flatten());
    let mut titled = panels.filter(|panel| panel["title"] == title);
    let panel = titled.next().unwrap_or_else(|| panic!("no panel {title}"));
    panel.clone()
}

#[test]
fn the_worst_value_of_a_panel_is_red() {
    let severities = ["green", "yellow", "orange", "red"];
    for panel in BOARDS.iter().flat_map(|board| board.panels()) {
        let title = panel.title;
        let colours = colours(&panel_of(title));
        assert_eq!(colours[0].0, f64::NEG_INFINITY, "{title} has no base");
        assert!(colours.is_sorted_by(|low, high| low.0 < high.0), "{title}");
        if panel.steps.is_empty() {
            assert_eq!(colours[0].1, "blue", "{title} judges all values alike");
            continue;
        }
        let ranks: Vec<usize> = colours
            .iter()
            .map(|(_, colour)| {
                let rank = severities.iter().position(|known| known == colour);
                rank.unwrap_or_else(|| panic!("{title}: {colour}"))
            })
            .collect();
        let more_is_better = ranks.last() == Some(&0);
        assert!(ranks.contains(&3), "{title} is never red");
        assert!(
            match more_is_better {
                true => ranks.is_sorted_by(|low, high| low > high) && ranks[0] == 3,
                false => ranks.is_sorted_by(|low, high| low < high) && ranks[0] == 0,
            },
            "{title}: {colours:?}"
        );
    }
    for (title, value, expected) in [
        ("Certificates", -86_400.0, "red"),
        ("Certificates", 8.0 * 86_400.0, "orange"),
        ("Error budget left", -0.5, "red"),
        ("Error budget left", 0.1, "orange"),
        ("Gateways up", 1.0 / 3.0, "red"),
        ("Gateways up", 1.0, "green"),
        ("Last reload", 0.0, "red"),
        ("Pressure", 0.0, "green"),
    ] {
        let colours = colours(&panel_of(title));
        let reached = colours.iter().rev().find(|(from, _)| *from <= value);
        let (_, colour) = reached.expect("a base");
        assert_eq!(colour, expected, "{title} at {value}");
    }
    let certificates = panel_of("Certificates")["fieldConfig"]["overrides"].to_string();
    assert!(certificates.contains("color-background"), "{certificates}");
}

#[test]
fn all_jobs_are_those_that_scrape_mayfly() {
    for board in BOARDS {
        let json = board.json();
        let variables = json["templating"]["list"].as_array().expect("a list");
        let mut jobs = variables
            .iter()
            .filter(|variable| variable["name"] == "job");
        let job = jobs.next().expect("a job can be chosen");
        assert!(job["allValue"].is_null(), "{job}");
        let from = job["query"]["query"].as_str().expect("PromQL");
        assert_eq!(from, "label_values(mayfly_build_info, job)");
    }
    for expression in expressions() {
        for selector in selectors(&expression) {
            let chosen = selector.contains("job=~\"$job\"");
            assert!(chosen || selector.starts_with("ALERTS{"), "{selector}");
        }
        for name in names_in(&expression) {
            assert!(expression.contains(&format!("{name}{{")), "{expression}");
        }
    }
}

#[test]
fn prometheus_takes_its_files() {
    succeed(
        program("promtool")
            .args(["check", "config"])
            .arg(path("config/prometheus/prometheus.yml")),
        "",
    );
    succeed(
        program("promtool")
            .args(["check", "rules", "--lint=all", "--lint-fatal"])
            .args([path(RECORDING), path(ALERTS)]),
        "",
    );
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    // Half a minute of work; on a machine with other things to do, some minutes.
    let mut patient = std::process::Command::new("timeout");
    patient.args(["--kill-after=5", "900", "promtool", "test", "rules"]);
    succeed(patient.args(RULE_TESTS.map(path)), "");
}

#[test]
fn labels_of_targets_silence_no_alert() {
    // Alerts that do not sum keep such a label and so differ from what is expected; but each fires.
    let name = format!("mayfly-rules-{}.yml", std::process::id());
    let file = std::env::temp_dir().join(name);
    let text = read(RULE_TESTS[0])
        .replace("../..", env!("CARGO_MANIFEST_DIR"))
        .replace(r#"instance="mx:9925""#, r#"instance="mx:9925",rack="7""#);
    std::fs::write(&file, text).expect("written");
    let mut patient = std::process::Command::new("timeout");
    patient.args(["--kill-after=5", "900", "promtool", "test", "rules"]);
    let tested = patient.arg(&file).output();
    std::fs::remove_file(&file).expect("it was there");
    let said = crate::gateway::tools::said(&tested.expect("promtool runs"));
    assert!(said.contains(r#"rack="7""#), "{said}");
    let silent = said
        .split("    name: ")
        .find(|case| case.contains("got:[]"));
    assert_eq!(silent, None);
}

/// An alert: its name, severity, where its section is, and all that stands in the file.
struct Alert {
    name: String,
    severity: String,
    runbook: String,
    text: String,
}

fn alerts() -> Vec<Alert> {
    let text = read(ALERTS);
    let mut alerts = Vec::new();
    for block in text.split("\n      - alert: ").skip(1) {
        let field = |name: &str| {
            let line = block
                .lines()
                .find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in\n{block}"))
                .trim()
                .to_owned()
        };
        assert!(!field("summary:").is_empty() && !field("description:").is_empty());
        alerts.push(Alert {
            name: block.lines().next().unwrap_or_default().to_owned(),
            severity: field("severity:"),
            runbook: field("runbook_url:"),
            text: block.to_owned(),
        });
    }
    assert!(alerts.len() > 20, "the file is not read as it is written");
    alerts
}

/// Seconds of a time as Prometheus writes it: `90s`, `5m`, `2h`, `3d`.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => panic!("{text} is no time"),
    };
    number.parse::<u64>().expect("a number") * unit
}

#[test]
fn no_alert_waits_shorter_than_it_remembers() {
    // Else one event stays in the window until the alert fires, though it is long over.
    for alert in alerts() {
        let waits = alert
            .text
            .lines()
            .find_map(|line| line.trim().strip_prefix("for: "))
            .map_or(0, seconds);
        // Those without `for` are meant so; those on the error budget have a short window beside the long one.
        if waits == 0 || alert.name.starts_with("MayflyErrorBudget") {
            continue;
        }
        let windows = alert.text.split("}[").skip(1);
        for window in windows.filter_map(|text| text.split_once(']')) {
            let window = seconds(window.0);
            assert!(window <= waits, "{}: {window} s, {waits} s", alert.name);
        }
    }
}

#[test]
fn no_rule_is_evaluated_so_rarely_that_it_vanishes() {
    // Prometheus sees a value for five minutes. One evaluation may be missed.
    let mut intervals = 0;
    for file in [RECORDING, ALERTS] {
        let text = read(file);
        let own = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("interval: "));
        for interval in own {
            assert!(2 * seconds(interval) < 300, "{file}: {interval}");
            intervals += 1;
        }
    }
    assert!(intervals > 0, "the files are not read as they are written");
}

#[test]
fn every_alert_has_tests_and_a_runbook() {
    let tests = RULE_TESTS.map(read).concat();
    let runbooks = read("docs/runbooks.md");
    let sections: Vec<&str> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    for alert in alerts() {
        let name = &alert.name;
        let cases: Vec<&str> = tests
            .split("alertname: ")
            .filter_map(|case| case.strip_prefix(&format!("{name}\n")))
            .map(|case| case.split("\n  - name: ").next().unwrap_or_default())
            .collect();
        let calm = cases
            .iter()
            .filter(|case| case.contains("exp_alerts: []"))
            .count();
        assert!(cases.len() > calm, "{name} is never seen to fire");
        // This one never rests.
        assert!(
            calm > 0 || name == "MayflyWatchdog",
            "{name} is never seen not to fire"
        );
        assert!(
            sections.contains(&name.as_str()),
            "docs/runbooks.md has no section {name}"
        );
        assert_eq!(
            alert.runbook,
            format!("docs/runbooks.md#{}", name.to_lowercase())
        );
        assert!(
            ["page", "ticket", "none"].contains(&alert.severity.as_str()),
            "{name}"
        );
    }
    let named: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    for section in sections
        .iter()
        .filter(|section| section.starts_with("Mayfly"))
    {
        assert!(
            named.contains(*section),
            "docs/runbooks.md: there is no alert {section}"
        );
    }
}

#[test]
fn alertmanager_sends_each_alert_where_it_belongs() {
    succeed(
        program("amtool")
            .arg("check-config")
            .arg(path(ALERTMANAGER)),
        "",
    );
    for alert in alerts() {
        let receiver = match (alert.name.as_str(), alert.severity.as_str()) {
            ("MayflyWatchdog", _) => "heartbeat",
            (_, "page") => "pages",
            _ => "tickets",
        };
        succeed(
            program("amtool")
                .args(["config", "routes", "test"])
                .arg(format!("--config.file={}", path(ALERTMANAGER).display()))
                .arg(format!("--verify.receivers={receiver}"))
                .arg(format!("alertname={}", alert.name))
                .arg(format!("severity={}", alert.severity)),
            "",
        );
    }
}

#[test]
fn overload_is_one_page_and_not_two() {
    let text = read(ALERTMANAGER);
    let (_, rules) = text.split_once("inhibit_rules:\n").expect("rules");
    let rule = rules
        .split("  - source_matchers: ")
        .find(|rule| rule.starts_with("[alertname = \"MayflyOverloaded\"]"))
        .expect("a rule for MayflyOverloaded");
    let lines: Vec<&str> = rule.lines().skip(1).take(2).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "target_matchers: [alertname =~ \"MayflyConnectionsNearLimit|MayflyMailMemoryNearLimit\"]",
            "equal: [job, instance]",
        ]
    );
    let named: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    for (at, _) in rules.match_indices("Mayfly") {
        let name = rules[at..].split(|character: char| !character.is_ascii_alphanumeric());
        let name = name.take(1).collect::<String>();
        assert!(name == "Mayfly" || named.contains(&name), "{name}");
    }
}

/// All PromQL of the dashboards.
pub fn expressions() -> Vec<String> {
    let panels = BOARDS.iter().flat_map(|board| board.panels());
    let queries = panels.flat_map(|panel| panel.expressions().map(|(expression, _)| expression));
    let marks = ANNOTATIONS
        .iter()
        .map(|(_, _, expression)| expand(expression));
    queries.chain(marks).collect()
}

#[test]
fn every_question_of_a_dashboard_is_promql() {
    let mut rules = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    for (number, expression) in expressions().iter().enumerate() {
        let expression = filled_in(expression, "1m").replace('\'', "''");
        let _ = writeln!(
            rules,
            "      - record: panel:{number}\n        expr: '{expression}'"
        );
    }
    let file = std::env::temp_dir().join(format!("mayfly-panels-{}.yml", std::process::id()));
    std::fs::write(&file, rules).expect("written");
    let checked = program("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output();
    std::fs::remove_file(&file).expect("it was there");
    let checked = checked.expect("promtool runs");
    assert!(
        checked.status.success(),
        "{}",
        crate::gateway::tools::said(&checked)
    );
}

#[test]
fn every_name_is_a_metric_or_a_rule() {
    let recording = read(RECORDING);
    let mut known: BTreeSet<String> = recording
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .map(str::to_owned)
        .collect();
    for declaration in mayfly::metrics::declarations() {
        let name = declaration.name;
        match declaration.kind {
            mayfly::metrics::Kind::Histogram => {
                known.extend(["bucket", "count", "sum"].map(|end| format!("{name}_{end}")));
            }
            _ => drop(known.insert(name.to_owned())),
        }
    }
    let text = [recording, read(ALERTS), expressions().join("\n")].concat();
    let unknown: Vec<String> = names_in(&text).difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

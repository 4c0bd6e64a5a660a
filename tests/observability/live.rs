//! A gateway under load, a Prometheus that watches it, and every question of every dashboard.

use crate::board::{Board, Look};
use crate::gateway::{Gateway, poll};
use crate::load::Load;
use crate::prometheus::{ITSELF, Prometheus, answers};
use crate::{BOARDS, files, filled_in, names_in, read, selectors};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The interval of a rate where Prometheus looks each second.
const EVERY: &str = "5s";

/// How long the traffic lasts whose picture is drawn, unless `MAYFLY_DRAW_SECONDS` says otherwise.
const PICTURE_SECS: u64 = 120;

const SETTINGS: &str = "
[admission]
connections_max = 100
connections_per_client_max = 3
connections_per_second_max = 0

[http]
connections_per_client_max = 0

[store]
memory = \"256 MiB\"
address_quarantine = \"0s\"
mailbox_messages_max = 100_000
mailbox_bytes_max = \"1 GiB\"
when_mailbox_full = \"drop-oldest\"

[clients]
connections_per_minute_max = 50
exempt = [\"127.0.0.1/32\"]

[webhooks]
enabled = true
allow_http = true
ports = []
allow_networks = [\"127.0.0.0/8\"]
retry_wait = \"100ms\"
";

/// Whether something can be drawn of a series.
fn has_a_value(series: &Value) -> bool {
    let value = series["value"][1]
        .as_str()
        .and_then(|text| text.parse::<f64>().ok());
    value.is_some_and(f64::is_finite)
}

#[test]
fn a_loaded_gateway_fills_every_panel() {
    let gateway = Gateway::start(SETTINGS);
    let prometheus = Prometheus::start(gateway.operator, gateway.folder());
    let load = Load::start(&gateway);
    for expression in files::expressions() {
        let filled = filled_in(&expression, EVERY);
        poll(|| match prometheus.query(&filled).iter().any(has_a_value) {
            true => Ok(()),
            false => Err(format!("no data: {filled}")),
        });
    }
    every_name_is_scraped(&gateway);
    nothing_else_is_in_an_answer(&prometheus);
    if std::env::var_os("MAYFLY_DRAW").is_some() {
        keep_answers(&prometheus);
    }
    drop(load);
    assert_eq!(
        gateway.metric("mayfly_smtp_sessions_ended_total", "panic"),
        0
    );
}

/// Whatever else this Prometheus looks at, here itself, is in no answer: neither by its name nor in a sum.
fn nothing_else_is_in_an_answer(prometheus: &Prometheus) {
    for name in ["up", "process_resident_memory_bytes"] {
        poll(|| {
            let other = format!("{name}{{job=\"{ITSELF}\"}}");
            match prometheus.query(&other).is_empty() {
                true => Err(format!("no data: {other}")),
                false => Ok(()),
            }
        });
    }
    // What Grafana makes *all jobs* of.
    let jobs = prometheus.query("group by (job) (mayfly_build_info)");
    let jobs: Vec<&Value> = jobs.iter().map(|series| &series["metric"]["job"]).collect();
    assert_eq!(jobs, ["mayfly"]);
    for expression in files::expressions() {
        let filled = filled_in(&expression, EVERY);
        for selector in selectors(&filled) {
            for series in prometheus.query(selector) {
                // The watchdog belongs to no job.
                let job = series["metric"]["job"].as_str();
                assert!(
                    job.is_none_or(|job| job == "mayfly"),
                    "{selector}: {series}"
                );
            }
        }
    }
}

/// What dashboards and rules name is on the page of a gateway that has had all kinds of traffic.
fn every_name_is_scraped(gateway: &Gateway) {
    let rules =
        ["recording", "alerts"].map(|name| read(&format!("config/prometheus/rules/{name}.yml")));
    let wanted = names_in(&[files::expressions().join("\n"), rules.concat()].concat());
    let page = gateway.metrics();
    let shown: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|name| !name.contains(':') && !shown.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Lets the traffic go on for a while and writes down what the dashboards would show of it.
fn keep_answers(prometheus: &Prometheus) {
    let wanted = std::env::var("MAYFLY_DRAW_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let lasts = Duration::from_secs(wanted.unwrap_or(PICTURE_SECS));
    let began = Instant::now();
    while began.elapsed() < lasts {
        std::thread::park_timeout(lasts.saturating_sub(began.elapsed()));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let span = (now - lasts.as_secs_f64(), now);
    let boards: Vec<Value> = BOARDS
        .iter()
        .map(|board| answered(board, prometheus, span))
        .collect();
    let file = answers();
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(file, json!(boards).to_string()).expect("written");
}

fn answered(board: &Board, prometheus: &Prometheus, (from, to): (f64, f64)) -> Value {
    let mut json = board.json();
    let mut panels = board.panels();
    for shown in json["panels"].as_array_mut().into_iter().flatten() {
        if shown["type"] == "row" {
            continue;
        }
        let panel = panels.next().expect("as many as are shown");
        let series: Vec<Value> = panel
            .expressions()
            .flat_map(|(expression, legend)| {
                let filled = filled_in(&expression, EVERY);
                let found = match panel.look {
                    Look::Table => prometheus.query(&filled),
                    _ => prometheus.range(&filled, from, to),
                };
                found.into_iter().map(move |series| (legend, series))
            })
            .map(|(legend, series)| json!({ "name": named(legend, &series["metric"]), "series": series }))
            .collect();
        shown["answers"] = json!(series);
    }
    json
}

/// The legend with a series' labels filled in.
fn named(legend: &str, labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    labels.fold(legend.to_owned(), |text, (name, value)| {
        text.replace(
            &format!("{{{{{name}}}}}"),
            value.as_str().unwrap_or_default(),
        )
    })
}

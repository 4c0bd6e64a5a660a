//! mayfly itself, started for a run on free ports of loopback and ended after it.

use crate::failure::Failure;
use crate::http;
use crate::process;
use crate::scenario::Scenario;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counting must not fail because the machine is busy: mail lives long, answers may take long, and nothing looks for codes in pages that
/// are only counted. Scenarios that are about one of these say otherwise.
const COUNTABLE: [(&str, &str); 5] = [
    ("MAYFLY__STORE__MAILBOX_TTL_DEFAULT", "1h"),
    ("MAYFLY__STORE__MAILBOX_TTL_MAX", "1h"),
    ("MAYFLY__STORE__MESSAGE_TTL_MAX", "1h"),
    ("MAYFLY__HTTP__REQUEST_TIMEOUT", "2m"),
    ("MAYFLY__READING__SCANS_PER_PAGE_MAX", "0"),
];

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Receiver<String>,
    said: Vec<String>,
    pub(crate) smtp: SocketAddr,
    pub(crate) smtps: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) operator: SocketAddr,
}

impl Server {
    /// Starts one with a scenario's settings over those of `config`.
    pub(crate) fn start(
        binary: &Path,
        config: &Path,
        scenario: &Scenario,
    ) -> Result<Self, Failure> {
        let any = "127.0.0.1:0";
        let smtp = if scenario.loads.iter().any(|load| load.proxy) {
            format!("[{{ address = \"{any}\", proxy_from = [\"127.0.0.0/8\"] }}]")
        } else {
            any.to_owned()
        };
        let mut command = Command::new(binary);
        command
            .args(["serve", "--config"])
            .arg(config)
            .env("NO_COLOR", "1")
            .env("MAYFLY__LISTEN__SMTP", smtp)
            .env("MAYFLY__LISTEN__SMTPS", any)
            .env("MAYFLY__LISTEN__HTTP", any)
            .env("MAYFLY__LISTEN__OPERATOR", any)
            .envs(COUNTABLE)
            .envs(scenario.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(Failure::at(binary.display()))?;
        process::started(child.id());
        let log = listen(&mut child);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            child,
            log,
            said: Vec::new(),
            smtp: nowhere,
            smtps: nowhere,
            http: nowhere,
            operator: nowhere,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let Ok(line) = self.log.recv_timeout(left) else {
                return Err(Failure::new(format!(
                    "mayfly did not start:\n{}",
                    self.said.join("\n")
                )));
            };
            let mut words = line.split_whitespace();
            if let (Some(name), Some(Ok(address))) = (words.next(), words.next().map(str::parse)) {
                match name {
                    "smtp" => self.smtp = address,
                    "smtps" => self.smtps = address,
                    "http" => self.http = address,
                    "operator" => self.operator = address,
                    _ => {}
                }
            }
            let ready = line.starts_with("ready in ");
            self.said.push(line);
            if ready {
                return Ok(());
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its metrics, as of now.
    pub(crate) fn metrics(&self) -> Result<Metrics, Failure> {
        let answer = http::ask(self.operator, "GET", "/metrics", None, "")?;
        Ok(Metrics(String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Ends it politely; whether it ended as it should.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        process::signal(self.child.id(), rustix::process::Signal::TERM);
        let began = Instant::now();
        let status = loop {
            match self
                .child
                .try_wait()
                .map_err(Failure::at("waiting for mayfly"))?
            {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    return Err(Failure::new("mayfly did not end in time after SIGTERM"));
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.success() {
            return Ok(());
        }
        let said: Vec<String> = self.log.try_iter().collect();
        Err(Failure::new(format!(
            "mayfly ended with {status} after SIGTERM:\n{}",
            said.join("\n")
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its number may be somebody else's when it has been waited for.
        if matches!(self.child.try_wait(), Ok(None)) {
            process::signal(self.child.id(), rustix::process::Signal::KILL);
            let _ = self.child.wait();
        }
        process::ended(self.child.id());
    }
}

/// Reads what a child says on standard error, so that it never waits for us.
fn listen(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    if let Some(errors) = child.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                // Nobody may be listening any more; the pipe is read all the same.
                let _ = send.send(line);
            }
        });
    }
    receive
}

/// A page of metrics.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// The sum of a metric over its labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let lines = self.0.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The upper end of a histogram's highest bucket that something is in; infinity if that is the open one, 0 of nothing.
    pub(crate) fn highest_bucket(&self, name: &str) -> f64 {
        let prefix = format!("{name}_bucket{{");
        let mut buckets: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for line in self.0.lines().filter(|line| line.starts_with(&prefix)) {
            let end = line
                .split_once("le=\"")
                .and_then(|(_, rest)| rest.split('"').next())
                .and_then(|end| end.parse::<f64>().ok());
            let count = line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok());
            if let (Some(end), Some(count)) = (end, count) {
                // Ends are not negative: their bits are ordered as they are.
                buckets.entry(end.to_bits()).or_insert((end, 0.0)).1 += count;
            }
        }
        let (mut highest, mut seen) = (0.0, 0.0);
        for (end, up_to) in buckets.into_values() {
            if up_to > seen {
                (highest, seen) = (end, up_to);
            }
        }
        highest
    }

    /// The value of a label where a metric has it.
    pub(crate) fn label(&self, name: &str, label: &str) -> Option<&str> {
        let prefix = format!("{name}{{");
        let line = self.0.lines().find(|line| line.starts_with(&prefix))?;
        let (_, rest) = line.split_once(&format!("{label}=\""))?;
        rest.split('"').next()
    }

    /// The sum of a metric of whole numbers over its labels.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.sum(name) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_nothing_else() {
        let page = Metrics("# HELP a_total x\na_total{core=\"0\"} 3\na_total{core=\"1\"} 4\na_total_more 9\nb 1.5\n".to_owned());
        assert_eq!(page.count("a_total"), 7);
        assert!((page.sum("b") - 1.5).abs() < f64::EPSILON);
        assert_eq!(page.count("none"), 0);
    }

    #[test]
    fn the_highest_bucket_is_the_last_that_something_is_in() {
        let page = |last: u32| {
            Metrics(format!(
                "lag_bucket{{le=\"0.5\"}} 3\nlag_bucket{{le=\"1\"}} 5\nlag_bucket{{le=\"2.5\"}} 5\nlag_bucket{{le=\"+Inf\"}} {last}\nlag_count {last}\n"
            ))
        };
        assert!((page(5).highest_bucket("lag") - 1.0).abs() < f64::EPSILON);
        assert!(page(6).highest_bucket("lag").is_infinite());
        assert!(page(6).highest_bucket("none").abs() < f64::EPSILON);
    }

    #[test]
    fn a_label_is_read() {
        let page = Metrics("info{version=\"1\",commit=\"abc\"} 1\n".to_owned());
        assert_eq!(page.label("info", "commit"), Some("abc"));
        assert_eq!(page.label("info", "none"), None);
    }
}

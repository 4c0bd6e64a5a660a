//! Debian's Prometheus for a test: the binary alone, on a free port of loopback, with its data in a folder that goes with it.

use crate::gateway::{PATIENCE, poll, request};
use crate::{path, read};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The job as which it looks at itself.
pub const ITSELF: &str = "prometheus";

/// A running Prometheus.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one with the configuration of the repository, but that it looks at this gateway and does so each second; and that it
    /// looks at itself, as another job, like most do.
    pub fn start(gateway: SocketAddr, folder: &Path) -> Self {
        let rules = folder.join("rules");
        std::fs::create_dir_all(&rules).expect("a folder");
        for name in ["recording.yml", "alerts.yml"] {
            let text = read(&format!("config/prometheus/rules/{name}"))
                .replace("interval: 2m", "interval: 1s");
            std::fs::write(rules.join(name), text).expect("written");
        }
        let text = read("config/prometheus/prometheus.yml")
            .replace("_interval: 15s", "_interval: 1s")
            .replace("127.0.0.1:9925", &gateway.to_string());
        let file = folder.join("prometheus.yml");
        // Nobody can be asked for a port and told it: one that was free a moment ago, and another when it is taken.
        poll(|| {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr());
            let address = free.expect("a free port");
            let itself = format!(
                "  - job_name: {ITSELF}\n    static_configs:\n      - targets: [\"{address}\"]\n"
            );
            std::fs::write(&file, [text.as_str(), &itself].concat()).expect("written");
            let child = Command::new("prometheus")
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus runs (tests/setup installs it)");
            let mut begun = Self { child, address };
            let began = std::time::Instant::now();
            while began.elapsed() < PATIENCE {
                if let Ok(Some(status)) = begun.child.try_wait() {
                    return Err(format!("prometheus ended with {status}"));
                }
                if std::net::TcpStream::connect(address).is_ok()
                    && request(address, "GET", "/-/ready", None, "").status == 200
                {
                    return Ok(begun);
                }
                std::thread::yield_now();
            }
            Err("prometheus does not answer".to_owned())
        })
    }

    /// The series that answer a question now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        self.ask(&format!("/api/v1/query?query={}", in_a_url(expression)))
    }

    /// The same over time, at each second.
    pub fn range(&self, expression: &str, from: f64, to: f64) -> Vec<Value> {
        let question = in_a_url(expression);
        self.ask(&format!(
            "/api/v1/query_range?query={question}&start={from}&end={to}&step=1"
        ))
    }

    fn ask(&self, question: &str) -> Vec<Value> {
        let answer = request(self.address, "GET", question, None, "");
        assert_eq!(answer.status, 200, "{question}: {}", answer.text());
        let result = answer.json()["data"]["result"].take();
        result.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Text as it may stand in a URL's query.
fn in_a_url(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Where answers go that are to be drawn.
pub fn answers() -> std::path::PathBuf {
    path("target/observability/answers.json")
}

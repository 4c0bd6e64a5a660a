//! A site behind nginx: `config/nginx/mayfly.conf` and `config/site.toml` as docs/site.md puts them together, with a real nginx.
#![cfg(feature = "server")]

mod gateway;

use gateway::tools::{program, succeed, wait};
use gateway::{Gateway, PATIENCE, poll};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const NAME: &str = "mail.example.com";

/// nginx with our file on ports of its own, in front of a gateway.
struct Proxy {
    nginx: Child,
    folder: PathBuf,
    tls: SocketAddr,
    plain: SocketAddr,
}

impl Proxy {
    fn start(gateway: &Gateway) -> Self {
        let folder = gateway.folder().join("nginx");
        std::fs::create_dir_all(&folder).expect("a folder");
        self_signed(&folder);
        // nginx cannot say which port it took, so free ones are looked for, and looked for again when somebody was faster.
        poll(|| Self::try_start(gateway, &folder, free_port(), free_port()))
    }

    fn try_start(
        gateway: &Gateway,
        folder: &std::path::Path,
        tls: SocketAddr,
        plain: SocketAddr,
    ) -> Result<Self, String> {
        let file = folder.join("nginx.conf");
        std::fs::write(&file, settings(gateway, folder, tls, plain)).expect("it is written");
        let mut command = program("nginx");
        let nginx = command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs (tests/setup installs it)");
        let mut proxy = Self {
            nginx,
            folder: folder.to_owned(),
            tls,
            plain,
        };
        poll(|| {
            if let Ok(Some(ended)) = proxy.nginx.try_wait() {
                return Ok(Err(format!("nginx ended: {ended}")));
            }
            match std::net::TcpStream::connect(tls) {
                Ok(_) => Ok(Ok(())),
                Err(why) => Err(why.to_string()),
            }
        })?;
        Ok(proxy)
    }

    /// curl as a browser would reach the site: by its name, with its certificate.
    fn curl(&self, from: &str) -> Command {
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.folder.join("chain.pem"))
            .args(["--interface", from, "--connect-to"])
            .arg(format!("{NAME}:443:{}", self.tls));
        curl
    }

    fn ask(&self, from: &str, path: &str, more: &[&str]) -> String {
        let url = format!("https://{NAME}{path}");
        succeed(self.curl(from).args(more).arg(url), "")
    }

    /// The status of an answer.
    fn status(&self, from: &str, path: &str, more: &[&str]) -> String {
        let all = [
            more,
            &["--output", "/dev/null", "--write-out", "%{http_code}"],
        ]
        .concat();
        self.ask(from, path, &all)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = self.nginx.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        wait(&mut self.nginx, PATIENCE);
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address")
}

fn self_signed(folder: &std::path::Path) {
    let mut openssl = program("openssl");
    openssl
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-keyout", "key.pem", "-out", "chain.pem"])
        .args(["-subj", &format!("/CN={NAME}")])
        .args(["-addext", &format!("subjectAltName=DNS:{NAME}")]);
    succeed(&mut openssl, "");
}

/// Our file with the ports and paths of this test; each must be in it.
fn settings(
    gateway: &Gateway,
    folder: &std::path::Path,
    tls: SocketAddr,
    plain: SocketAddr,
) -> String {
    let folder = folder.to_string_lossy();
    let mut ours = include_str!("../config/nginx/mayfly.conf").to_owned();
    let certificates = "/etc/letsencrypt/live/mail.example.com";
    for (theirs, of_this_test) in [
        ("127.0.0.1:8025", gateway.http.to_string()),
        (
            "    listen 443 ssl http2;",
            format!("    listen {tls} ssl http2;"),
        ),
        ("    listen [::]:443 ssl http2;\n", String::new()),
        ("    listen 80;", format!("    listen {plain};")),
        ("    listen [::]:80;\n", String::new()),
        (
            &format!("{certificates}/fullchain.pem"),
            format!("{folder}/chain.pem"),
        ),
        (
            &format!("{certificates}/privkey.pem"),
            format!("{folder}/key.pem"),
        ),
        ("/var/log/nginx/mayfly.log", format!("{folder}/mayfly.log")),
        ("/var/www/acme", format!("{folder}/acme")),
    ] {
        assert!(ours.contains(theirs), "{theirs:?} is not in the file");
        ours = ours.replace(theirs, &of_this_test);
    }
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}{ours}}}\n"
    )
}

/// `[http]` and `[clients]` of the site's settings, with a limit that a test can reach.
fn site(requests_per_minute: u32) -> Gateway {
    let ours = include_str!("../config/site.toml");
    let from = ours.find("[clients]").expect("it has that section");
    Gateway::start(&format!(
        "{}requests_per_minute = {requests_per_minute}\n",
        &ours[from..]
    ))
}

#[test]
fn a_mailbox_behind_the_proxy_is_made_filled_watched_and_erased() {
    let gateway = site(0);
    let proxy = Proxy::start(&gateway);
    let created = proxy.ask("127.0.0.1", "/api/v1/mailboxes", &["-X", "POST"]);
    let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
    let address = created["address"].as_str().expect("an address");
    let token = format!(
        "Authorization: Bearer {}",
        created["token"].as_str().expect("a token")
    );

    // The stream is open before the mail comes, and tells of it at once: nothing on the way waits for more.
    let mut events = proxy
        .curl("127.0.0.1")
        .args(["--no-buffer", "-H", &token])
        .arg(format!("https://{NAME}/api/v1/events"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut lines = BufReader::new(events.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert_eq!(first, "retry: 3000");
    let reply = gateway.deliver(
        address,
        "Subject: through nginx\r\n\r\nyour code is 482913\r\n.\r\n",
    );
    assert!(reply.starts_with("250 "), "{reply}");
    let told = lines
        .by_ref()
        .map(|line| line.expect("text"))
        .find(|line| line.starts_with("data: "))
        .expect("an event");
    assert!(told.contains("through nginx"), "{told}");

    assert_eq!(
        proxy.status("127.0.0.1", "/api/v1/messages/1/raw", &["-H", &token]),
        "200"
    );
    let erase = ["-X", "DELETE", "-H", token.as_str()];
    assert_eq!(proxy.status("127.0.0.1", "/api/v1/mailbox", &erase), "204");
    // With its mailbox the stream ends, through the proxy too.
    let rest = lines.map_while(Result::ok).collect::<Vec<_>>();
    assert!(rest.iter().any(|line| line == "event: closed"), "{rest:?}");
    assert!(wait(&mut events, PATIENCE).success());
}

#[test]
fn limits_behind_the_proxy_go_by_the_client_and_not_by_what_it_claims() {
    let gateway = site(3);
    let proxy = Proxy::start(&gateway);
    let mine = "127.0.0.2";
    for claimed in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let claim = format!("X-Forwarded-For: {claimed}");
        assert_eq!(
            proxy.status(mine, "/api/v1/mailbox", &["-H", &claim]),
            "401"
        );
    }
    assert_eq!(proxy.status(mine, "/api/v1/mailbox", &[]), "429");
    assert_eq!(proxy.status("127.0.0.3", "/api/v1/mailbox", &[]), "401");
}

#[test]
fn the_proxy_adds_nothing_to_what_strangers_can_reach() {
    let gateway = site(0);
    let proxy = Proxy::start(&gateway);
    for path in ["/metrics", "/healthz", "/postmaster/messages"] {
        assert_eq!(proxy.status("127.0.0.1", path, &[]), "404", "{path}");
    }
    // The site's own page may change things, another site's may not.
    for (origin, status) in [
        (format!("https://{NAME}"), "201"),
        ("https://evil.example".into(), "403"),
    ] {
        let more = ["-X", "POST", "-H", &format!("Origin: {origin}")];
        assert_eq!(
            proxy.status("127.0.0.1", "/api/v1/mailboxes", &more),
            status,
            "{origin}"
        );
    }
    let head = proxy.ask("127.0.0.1", "/api/v1/mailbox", &["--include"]);
    for field in [
        "cache-control: no-store",
        "strict-transport-security: max-age=",
    ] {
        assert!(head.contains(field), "{field} is missing:\n{head}");
    }
    // Whoever comes without TLS is sent where there is.
    let mut plain = std::net::TcpStream::connect(proxy.plain).expect("it listens");
    plain.set_read_timeout(Some(PATIENCE)).expect("a limit");
    write!(
        plain,
        "GET /x HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let moved = BufReader::new(plain)
        .lines()
        .map_while(Result::ok)
        .collect::<Vec<_>>();
    assert!(moved[0].contains(" 301 "), "{moved:?}");
    assert!(
        moved.contains(&format!("Location: https://{NAME}/x")),
        "{moved:?}"
    );
}

#[test]
fn the_sites_settings_are_sound() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/site.toml");
    let mut check = program(env!("CARGO_BIN_EXE_mayfly"));
    succeed(check.args(["check-config", file]), "");
}

//! Where logs go when they go to systemd's journal, in a namespace with a journal of the test's own or with none.

use crate::gateway::{Gateway, PATIENCE, tools};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

const SETTINGS: &str = "\
[server]
cores = 1
log_format = \"journald\"
[listen]
smtp = [\"127.0.0.1:0\"]
smtps = []
http = [\"127.0.0.1:0\"]
operator = []
";

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mayfly-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("mayfly.toml"), SETTINGS).expect("written");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A mayfly, ended with the test.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Starts mayfly where `/run/systemd/journal` is what `prepare` makes of an empty `/run`.
    fn start(folder: &Path, prepare: &str) -> Self {
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && {prepare} exec {} serve --config {}/mayfly.toml",
            env!("CARGO_BIN_EXE_mayfly"),
            folder.display()
        );
        let mut child = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", &script])
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, stderr }
    }

    /// Tells it to stop; gives what else it said on standard error.
    fn stop(mut self) -> String {
        tools::succeed(Command::new("kill").arg(self.child.id().to_string()), "");
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("text");
        assert!(tools::wait(&mut self.child, PATIENCE).success(), "{rest}");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn logs_go_to_the_journal() {
    let folder = Folder::new("journal");
    let journal = UnixDatagram::bind(folder.0.join("socket")).expect("a socket");
    journal.set_read_timeout(Some(PATIENCE)).expect("set");
    let bind = format!(
        "mount --bind {} /run/systemd/journal &&",
        folder.0.display()
    );
    let child = Running::start(&folder.0, &bind);
    let mut entry = vec![0; 64 << 10];
    let entry = loop {
        let length = journal.recv(&mut entry).expect("an entry");
        let entry = String::from_utf8_lossy(&entry[..length]).into_owned();
        if entry.contains("ready") {
            break entry;
        }
    };
    for field in ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "F_VERSION"] {
        assert!(
            entry.contains(&format!("{field}\n")),
            "{field} in {entry:?}"
        );
    }
    assert_eq!(child.stop(), "", "nothing else is said");
}

#[test]
fn who_has_no_journal_is_told_and_logs_go_on() {
    let folder = Folder::new("no-journal");
    let mut child = Running::start(&folder.0, "");
    let mut said = String::new();
    while !said.contains("ready") {
        assert!(
            child.stderr.read_line(&mut said).expect("text") > 0,
            "{said}"
        );
    }
    assert!(
        said.contains("there is no journal") && said.contains("fix:"),
        "{said}"
    );
    assert!(child.stop().contains("stopping"));
}

#[test]
fn certificates_that_no_metric_shows_are_counted_in_the_log() {
    let folder = Folder::new("certificates");
    let made = rcgen::generate_simple_self_signed(vec!["mx.somebody.test".to_owned()])
        .expect("a certificate");
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.0.join(name));
    std::fs::write(&chain, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let settings = |certificates| {
        let one = format!("[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n");
        one.repeat(certificates)
    };
    let mut gateway = Gateway::start(&settings(17));
    let page = gateway.metrics();
    let shown = "mayfly_tls_certificate_expiry_timestamp_seconds{";
    assert_eq!(page.matches(shown).count(), 16, "{page}");
    gateway.reload(&settings(16));
    gateway.reload(&settings(17));
    assert!(gateway.stop().success());
    let said = gateway.last_words().lines();
    let said: Vec<_> = said.filter(|line| line.contains("shown=16")).collect();
    assert_eq!(
        said.len(),
        2,
        "once for each time that there were 17: {said:?}"
    );
    for line in said {
        assert!(
            line.contains("certificates=17") && !line.contains("somebody"),
            "{line}"
        );
    }
}

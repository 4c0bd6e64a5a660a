//! The servers that are compared: how each is started on a free port of loopback, and ended.

use super::Compared;
use crate::arguments::Setting;
use crate::failure::Failure;
use crate::machine::version;
use crate::process;
use crate::scenario::Scenario;
use crate::scratch::Scratch;
use crate::server::Server;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to greet somebody, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where `loadtest/baselines/setup` puts what it installs.
const INSTALLED: &str = "target/baselines";

const IN_RAM: &str = "RAM: stored for its holder, readable before the 250";
const DISCARDED: &str = "none: read and dropped";
const ON_DISK: &str = "disk: a queue file, synced, then dropped by discard(8)";

/// A server that can be started.
#[derive(Debug)]
pub(crate) struct Candidate {
    name: &'static str,
    version: String,
    class: &'static str,
    /// What it can hold at once with these settings.
    pub(super) connections_max: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mayfly {
        binary: PathBuf,
        config: PathBuf,
    },
    /// A program with its arguments; PORT and ADDRESS stand for where it listens.
    Program(Vec<String>),
    Postfix,
}

/// One that runs.
#[derive(Debug)]
pub(crate) enum Running {
    Mayfly(Server),
    Other(Other),
}

/// Any other program.
#[derive(Debug)]
pub(crate) struct Other {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

/// All that are there, and sentences about those that are not.
pub(crate) fn all(setting: &Setting) -> (Vec<Candidate>, Vec<String>) {
    let (binary, config) = (setting.binary.clone(), setting.config.clone());
    let mayfly = Candidate {
        name: "mayfly",
        version: env!("CARGO_PKG_VERSION").to_owned(),
        class: IN_RAM,
        connections_max: 20_000,
        kind: Kind::Mayfly { binary, config },
    };
    let mut found = vec![mayfly];
    let mut left_out = Vec::new();
    let others = yardsticks()
        .into_iter()
        .chain(postfixes())
        .chain(libraries());
    for (name, candidate) in others {
        match candidate {
            Some(candidate) => found.push(candidate),
            None => left_out.push(format!("{name} is not here")),
        }
    }
    (found, left_out)
}

/// The least that a sink can cost, where somebody gave its sources.
fn yardsticks() -> [(&'static str, Option<Candidate>); 2] {
    let cores = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    ["limit", "tasks"].map(|name| {
        let binary = Path::new(INSTALLED).join("yardstick").join(name);
        let arguments = [
            binary.display().to_string(),
            "ADDRESS".to_owned(),
            cores.clone(),
        ];
        let sample = || {
            program(
                name,
                "sample of the yardstick".to_owned(),
                10_000,
                &arguments,
            )
        };
        (name, binary.exists().then(sample))
    })
}

/// What Debian's Postfix brings.
fn postfixes() -> [(&'static str, Option<Candidate>); 2] {
    let version = version("postconf", &["-d", "-h", "mail_version"]);
    let there = !version.is_empty();
    let arguments = [
        "smtp-sink",
        "-u",
        "nobody",
        "-m",
        "20000",
        "ADDRESS",
        "4096",
    ]
    .map(str::to_owned);
    let sink = || {
        program(
            "smtp-sink",
            format!("Postfix {version}"),
            10_000,
            &arguments,
        )
    };
    let discard = || Candidate {
        name: "Postfix, discard",
        version: version.clone(),
        class: ON_DISK,
        connections_max: 100,
        kind: Kind::Postfix,
    };
    // Its processes change their user.
    let root = rustix::process::geteuid().is_root();
    [
        ("smtp-sink", there.then(sink)),
        ("Postfix", (there && root).then(discard)),
    ]
}

/// Sinks on libraries, installed by `loadtest/baselines/setup`.
fn libraries() -> [(&'static str, Option<Candidate>); 3] {
    let commands: [(&str, &str, &[&str]); 3] = [
        (
            "node",
            "Node smtp-server",
            &["node", "target/baselines/node/sink.js", "PORT"],
        ),
        (
            "aiosmtpd",
            "aiosmtpd",
            &[
                "target/baselines/aiosmtpd/bin/python",
                "loadtest/baselines/aiosmtpd/sink.py",
                "PORT",
            ],
        ),
        ("go", "go-smtp", &["target/baselines/go/sink", "ADDRESS"]),
    ];
    commands.map(|(folder, name, arguments)| {
        let version = fs::read_to_string(Path::new(INSTALLED).join(folder).join("version"));
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        let library = |version: String| program(name, version.trim().to_owned(), 5_000, &arguments);
        (name, version.ok().map(library))
    })
}

fn program(
    name: &'static str,
    version: String,
    connections_max: u32,
    arguments: &[String],
) -> Candidate {
    Candidate {
        name,
        version,
        class: DISCARDED,
        connections_max,
        kind: Kind::Program(arguments.to_vec()),
    }
}

impl Candidate {
    pub(super) fn described(&self) -> Compared {
        Compared {
            name: self.name.to_owned(),
            version: self.version.clone(),
            class: self.class.to_owned(),
            workloads: BTreeMap::new(),
            held: 0,
            connection_bytes: None,
            smtp_source_seconds: None,
            smtp_source_messages: 0,
        }
    }

    /// Starts it; it greets when this returns.
    pub(super) fn start(&self) -> Result<Running, Failure> {
        let scratch = Scratch::new()?;
        let address = free_port()?;
        let mut command = match &self.kind {
            Kind::Mayfly { binary, config } => {
                let plain = Scenario::parse("title = ''\nabout = ''\n[[load]]", false)?;
                return Server::start(binary, config, &plain).map(Running::Mayfly);
            }
            Kind::Program(words) => {
                let filled = words.iter().map(|word| match word.as_str() {
                    "ADDRESS" => address.to_string(),
                    "PORT" => address.port().to_string(),
                    word => word.to_owned(),
                });
                let words: Vec<String> = filled.collect();
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            Kind::Postfix => postfix(scratch.path(), address)?,
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn().map_err(Failure::at(self.name))?;
        process::started(child.id());
        let running = Other {
            child,
            address,
            _scratch: scratch,
        };
        greeted(address).map_err(Failure::at(format!("{} did not start", self.name)))?;
        Ok(Running::Other(running))
    }
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Mayfly(server) => server.pid(),
            Self::Other(other) => other.child.id(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Mayfly(server) => server.smtp,
            Self::Other(other) => other.address,
        }
    }

    pub(super) fn stop(self) -> Result<(), Failure> {
        match self {
            Self::Mayfly(server) => server.stop(),
            Self::Other(other) => {
                drop(other);
                Ok(())
            }
        }
    }
}

impl Drop for Other {
    /// Politely first; then whatever is left of its tree.
    fn drop(&mut self) {
        let tree = process::tree(self.child.id());
        if let Some(pid) = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(3)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        process::signal(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
        process::ended(self.child.id());
        process::end_orphans(&tree);
    }
}

/// A port that nobody listens on, a moment ago.
fn free_port() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::at("no free port"))?;
    listener.local_addr().map_err(Failure::at("no free port"))
}

fn greeted(address: SocketAddr) -> std::io::Result<()> {
    let began = Instant::now();
    loop {
        let tried = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            if line.starts_with("220") {
                Ok(())
            } else {
                Err(std::io::Error::other("no greeting"))
            }
        });
        match tried {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Postfix with a configuration and a spool of its own; what it takes goes to discard(8). Its defaults, but for the limits on one client
/// and on processes, which would otherwise be what is measured.
fn postfix(folder: &Path, address: SocketAddr) -> Result<Command, Failure> {
    let (config, spool, data) = (
        folder.join("etc"),
        folder.join("spool"),
        folder.join("data"),
    );
    for folder in [&config, &spool, &data] {
        fs::create_dir_all(folder).map_err(Failure::at("Postfix"))?;
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(Failure::at("Postfix"))?;
    let owner = passwd.lines().find_map(|line| {
        line.strip_prefix("postfix:")?
            .split(':')
            .nth(1)?
            .parse()
            .ok()
    });
    std::os::unix::fs::chown(&data, owner, None).map_err(Failure::at("Postfix"))?;
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmyhostname = mx.test\nmydestination = mayfly.test\n\
         inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nlocal_recipient_maps =\n\
         local_transport = discard:\ndefault_transport = discard:\nalias_maps =\nsmtpd_peername_lookup = no\n\
         smtpd_client_connection_count_limit = 0\ndefault_process_limit = 110\nsmtpd_tls_security_level = none\n",
        spool.display(),
        data.display()
    );
    let services = [
        ("pickup", "unix  n - n 60 1 pickup"),
        ("cleanup", "unix n - n - 0 cleanup"),
        ("qmgr", "unix n - n 300 1 qmgr"),
        ("rewrite", "unix - - n - - trivial-rewrite"),
        ("bounce", "unix - - n - 0 bounce"),
        ("defer", "unix - - n - 0 bounce"),
        ("trace", "unix - - n - 0 bounce"),
        ("flush", "unix n - n 1000? 0 flush"),
        ("proxymap", "unix - - n - - proxymap"),
        ("error", "unix - - n - - error"),
        ("retry", "unix - - n - - error"),
        ("discard", "unix - - n - - discard"),
        ("anvil", "unix - - n - 1 anvil"),
        ("scache", "unix - - n - 1 scache"),
    ];
    let mut master = format!("{address} inet n - n - - smtpd\n");
    for (name, rest) in services {
        master.push_str(&format!("{name} {rest}\n"));
    }
    fs::write(config.join("main.cf"), main).map_err(Failure::at("Postfix"))?;
    fs::write(config.join("master.cf"), master).map_err(Failure::at("Postfix"))?;
    let config = config.display().to_string();
    // Makes the folders of the spool.
    let checked = Command::new("postfix")
        .args(["-c", &config, "check"])
        .stderr(Stdio::null())
        .status();
    if !checked.is_ok_and(|status| status.success()) {
        return Err(Failure::new("Postfix does not like its settings"));
    }
    let mut command = Command::new("postfix");
    command.args(["-c", &config, "start-fg"]);
    Ok(command)
}

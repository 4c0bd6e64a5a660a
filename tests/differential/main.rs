//! Says the same bytes to mayfly, Postfix, Exim and OpenSMTPD and compares what each does: how every reply begins,
//! whether the connection is closed, and what has been accepted for whom. `tests/differential/run` sets the others up.

#![forbid(unsafe_code)]

#[path = "../gateway/mod.rs"]
mod gateway;
mod page;
mod queues;
mod script;
mod wire;

use gateway::{Gateway, OPEN_DOORS, poll};
use page::Outcome;
use queues::{Files, Queue};
use script::{Case, Script};
use std::io::{Write as _, stdout};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;

/// mayfly's settings: the size that the others are given, and doors open for a client that comes very often.
const SETTINGS: &str = "
[server]
hostname = \"mx.ours.test\"
[recipients]
domains = [\"ours.test\"]
[smtp]
message_bytes_max = 10_240_000
";

/// A server under comparison.
struct Server {
    title: &'static str,
    version: String,
    address: SocketAddr,
    queue: Queue,
}

fn main() -> ExitCode {
    let (mut servers, mut names, mut write) = (vec![mayfly()], Vec::new(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--write" => write = true,
            described if described.contains('=') => servers.push(other(described)),
            name => names.push(name.to_owned()),
        }
    }
    assert_eq!(
        servers.len(),
        page::COLUMNS.len(),
        "tests/differential/run starts the others"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(folder.join("tests/differential/cases.txt"));
    let mut script = Script::parse(&text.expect("there is a case file"));
    if !names.is_empty() {
        for group in &mut script.groups {
            group.cases.retain(|case| names.contains(&case.name));
        }
    }
    let versions: Vec<String> = servers.iter().map(|it| it.version.clone()).collect();
    let outcomes = play_all(servers, &script);
    if !names.is_empty() {
        say(&page::protocols(&script, &outcomes));
        return ExitCode::SUCCESS;
    }
    let path = folder.join("docs/differential.md");
    match page::check(&script, &outcomes, &versions, &path, write) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaints) => {
            say(&complaints);
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let mut out = stdout();
    out.write_all(text.as_bytes()).expect("written");
}

fn mayfly() -> Server {
    let gateway = Gateway::start(&(SETTINGS.to_owned() + OPEN_DOORS));
    let tokens = ["u1", "u2"].map(|name| gateway.create(name).1);
    Server {
        title: page::COLUMNS[0],
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: gateway.smtp,
        queue: Queue::Mayfly(Box::new(gateway), tokens.to_vec()),
    }
}

/// One of the others, from NAME=ADDRESS=ROOT=VERSION.
fn other(described: &str) -> Server {
    let fields: Vec<&str> = described.split('=').collect();
    let [name, address, root, version] = fields[..] else {
        panic!("not NAME=ADDRESS=ROOT=VERSION: {described}")
    };
    let spool = Path::new(root).join("var/spool");
    let files = |folder: &str| Files::below(spool.join(folder));
    let (title, queue) = match name {
        "postfix" => ("Postfix", Queue::Postfix(files("postfix/hold"))),
        "exim" => ("Exim", Queue::Exim(files("exim4/input"))),
        "opensmtpd" => ("OpenSMTPD", Queue::OpenSmtpd(files("smtpd/queue"))),
        _ => panic!("no such server: {name}"),
    };
    let address = address.parse().expect("an address");
    poll(|| TcpStream::connect(address).map_err(|why| format!("{title} does not answer: {why}")));
    Server {
        title,
        version: version.to_owned(),
        address,
        queue,
    }
}

/// All cases on all servers: the servers at the same time, the cases of each one after the other.
fn play_all(servers: Vec<Server>, script: &Script) -> Vec<Vec<Option<Outcome>>> {
    let titles: Vec<&str> = servers.iter().map(|server| server.title).collect();
    assert_eq!(titles, page::COLUMNS);
    std::thread::scope(|scope| {
        let running: Vec<_> = servers
            .into_iter()
            .map(|server| scope.spawn(|| play_cases(server, script)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("it has played all cases"))
            .collect()
    })
}

fn play_cases(mut server: Server, script: &Script) -> Vec<Option<Outcome>> {
    let cases = script.groups.iter().flat_map(|group| &group.cases);
    cases.map(|case| play(&mut server, case)).collect()
}

fn play(server: &mut Server, case: &Case) -> Option<Outcome> {
    let heard = wire::play(server.address, case)?;
    let accepted = server.queue.accepted();
    Some(Outcome { heard, accepted })
}

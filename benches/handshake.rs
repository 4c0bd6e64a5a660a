//! What a TLS handshake costs the server: ours, through `edge/tls.rs`, and rustls's own buffered server with the very same
//! settings, and with the order of cipher suites that it has by itself.
//!
//! Run with `cargo bench --bench handshake`. Client and server talk in this process, without sockets; only the server's part is
//! counted, in CPU time of the thread, so that what else the machine does matters little. Both kinds take turns, and the
//! median counts. A full handshake of ours may take [`RATIO_MAX`] of rustls's own, else the run fails.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports")]

use mayfly::config::Config;
use mayfly::edge::live::Live;
use mayfly::edge::tls::{Progress, Tls};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
    SupportedProtocolVersion, version,
};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[path = "../tests/gateway/anybody.rs"]
mod anybody;

/// What a full handshake may cost, as a multiple of rustls's own.
const RATIO_MAX: f64 = 1.25;

/// Handshakes of each kind whose median counts, and those before them that do not.
const ROUNDS: usize = 400;
const WARM_UP: usize = 40;

fn main() -> ExitCode {
    let live = Live::new(&Config::default(), None, 2026).expect("a certificate can be made");
    let server = live.tls_of(0);
    let by_itself = by_itself(&server);
    let mut too_dear = false;
    println!(
        "handshake                           its own order    rustls's own         ours  ratio"
    );
    // Most mail servers of today do not know the hybrid key exchange that rustls prefers.
    let hybrid = aws_lc_rs::kx_group::X25519MLKEM768;
    let classic = aws_lc_rs::kx_group::X25519;
    for (name, version, group, resumed) in [
        (
            "TLS 1.3, X25519MLKEM768, full",
            &version::TLS13,
            hybrid,
            false,
        ),
        (
            "TLS 1.3, X25519MLKEM768, resumed",
            &version::TLS13,
            hybrid,
            true,
        ),
        ("TLS 1.3, X25519, full", &version::TLS13, classic, false),
        ("TLS 1.3, X25519, resumed", &version::TLS13, classic, true),
        ("TLS 1.2, X25519, full", &version::TLS12, classic, false),
        ("TLS 1.2, resumed", &version::TLS12, classic, true),
    ] {
        let mut client = client(version, group);
        if !resumed {
            client.resumption = Resumption::disabled();
        }
        let [default, theirs, ours] = medians(&client, [&by_itself, &server], resumed);
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let micros = |span: Duration| span.as_secs_f64() * 1e6;
        println!(
            "{name:35} {:10.1} us {:12.1} us {:10.1} us {ratio:6.2}",
            micros(default),
            micros(theirs),
            micros(ours)
        );
        too_dear |= !resumed && ratio > RATIO_MAX;
    }
    match too_dear {
        true => {
            eprintln!("a full handshake costs more than {RATIO_MAX} of rustls's own");
            ExitCode::FAILURE
        }
        false => ExitCode::SUCCESS,
    }
}

/// The same with rustls's own order of cipher suites, in which the client's counts.
fn by_itself(ours: &ServerConfig) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("it has these versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&ours.cert_resolver));
    config.session_storage = Arc::clone(&ours.session_storage);
    config.ticketer = Arc::clone(&ours.ticketer);
    config.send_tls13_tickets = ours.send_tls13_tickets;
    Arc::new(config)
}

/// What the server spends on a handshake: rustls's own with its order of suites, with ours, and ours.
fn medians(
    client: &ClientConfig,
    [by_itself, server]: [&Arc<ServerConfig>; 2],
    resumed: bool,
) -> [Duration; 3] {
    let buffered = |config| Buffered(ServerConnection::new(config).expect("it can be used"));
    // Each remembers its own tickets.
    let clients = [(); 3].map(|()| {
        let mut client = client.clone();
        if resumed {
            client.resumption = Resumption::in_memory_sessions(8);
        }
        Arc::new(client)
    });
    let mut all = [(); 3].map(|()| Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let unbuffered = Tls::new(Arc::clone(server)).expect("it can be used");
        let spent = [
            handshake(&clients[0], buffered(Arc::clone(by_itself))),
            handshake(&clients[1], buffered(Arc::clone(server))),
            handshake(&clients[2], Unbuffered(unbuffered)),
        ];
        if round < WARM_UP {
            continue;
        }
        for (all, (spent, kind)) in all.iter_mut().zip(spent) {
            assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{kind:?}");
            all.push(spent);
        }
    }
    all.map(median)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// A server of either kind.
trait Server {
    /// Takes what the client sent and answers it; says whether the handshake is done.
    fn take(&mut self, sent: &[u8], answer: &mut Vec<u8>) -> bool;
}

struct Buffered(ServerConnection);

impl Server for Buffered {
    fn take(&mut self, mut sent: &[u8], answer: &mut Vec<u8>) -> bool {
        while !sent.is_empty() {
            self.0.read_tls(&mut sent).expect("it is in memory");
            self.0.process_new_packets().expect("a sound handshake");
        }
        while self.0.wants_write() {
            self.0.write_tls(answer).expect("it is in memory");
        }
        !self.0.is_handshaking()
    }
}

struct Unbuffered(Tls);

impl Server for Unbuffered {
    fn take(&mut self, sent: &[u8], answer: &mut Vec<u8>) -> bool {
        let progress = self.0.receive(sent, &mut Vec::new(), answer);
        progress.expect("a sound handshake") == Progress::Established
    }
}

/// One handshake; says what the server spent on it, and of which kind it was.
fn handshake(
    config: &Arc<ClientConfig>,
    mut server: impl Server,
) -> (Duration, Option<HandshakeKind>) {
    let name = "mayfly.test".try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("it can be used");
    let mut spent = Duration::ZERO;
    loop {
        let (mut sent, mut answer) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut sent).expect("it is in memory");
        }
        let began = cpu_time();
        let done = server.take(&sent, &mut answer);
        spent += cpu_time() - began;
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            client.read_tls(&mut answer).expect("it is in memory");
            client.process_new_packets().expect("a sound handshake");
        }
        if done && !client.is_handshaking() && !client.wants_write() {
            return (spent, client.handshake_kind());
        }
    }
}

/// What this thread has had of the processor.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A client that offers this version and this key exchange. What it does is not counted.
fn client(
    version: &'static SupportedProtocolVersion,
    group: &'static dyn SupportedKxGroup,
) -> ClientConfig {
    let provider = CryptoProvider {
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    };
    anybody::client(provider, &[version])
}

//! Ten thousand HTTP connections that say nothing, as a browser's keep-alives or an attacker's. It stands in a file of
//! its own because it takes half of this process's descriptors.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

mod gateway;

use gateway::{Gateway, OPEN_DOORS, PATIENCE, request, tools};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// As many as `http.connections_max` has room for.
const IDLE: usize = 10_000;

/// What an idle connection may cost in a build that is not optimised.
const RESIDENT_BYTES_EACH: u64 = 24 << 10;

/// Asks once, and stays.
fn keep_alive(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
        .write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

#[test]
fn k06_ten_thousand_idle_connections_cost_little_and_are_ended() {
    tools::raise_the_limit_on_files();
    let gateway = Gateway::start(&format!(
        "{OPEN_DOORS}\n[http]\nconnections_per_client_max = 0\nconnections_max = {IDLE}\nheader_timeout = \"30s\"\n"
    ));
    let before = gateway.metric("process_resident_memory_bytes", "");
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| keep_alive(gateway.http)).collect();
    let grown = gateway.metric("process_resident_memory_bytes", "") - before;
    assert!(
        grown < IDLE as u64 * RESIDENT_BYTES_EACH,
        "{grown} bytes for {IDLE} connections"
    );
    // One more is closed unanswered, mail and the operator do not notice, and who is here is served.
    let mut late = TcpStream::connect(gateway.http).expect("connected");
    late.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(matches!(late.read(&mut [0; 8]), Ok(0) | Err(_)));
    gateway.await_metric("mayfly_http_connections_refused_total", "", 1);
    let health = request(gateway.operator, "GET", "/healthz", None, "");
    assert_eq!(health.status, 200);
    let reply = gateway.deliver("postmaster@mayfly.test", "Subject: excuse me\r\n\r\n");
    assert!(reply.starts_with("250"), "{reply}");
    // Each is ended when it has been silent for too long.
    for stream in &mut idle {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("closed by the server");
    }
}

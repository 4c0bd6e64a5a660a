//! Ten thousand open streams of events, ours and those of an API beside it, to whose readers nothing happens: what one costs,
//! that one who gets something still gets it, and that nothing of them stays. It stands in a file of its own because it takes
//! half of this process's descriptors.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

mod gateway;

use gateway::{Gateway, OPEN_DOORS, PATIENCE, request, tools};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// As many as `http.connections_max` leaves room for: each mailbox has as many of one kind as of the other.
const STREAMS: usize = 10_000;
const MAILBOXES: usize = 250;
const OF_EACH_KIND: usize = STREAMS / MAILBOXES / 2;

/// What an open stream may cost in a build that is not optimised, its connection included. docs/performance.md says what it does
/// cost.
const RESIDENT_BYTES_EACH: u64 = 40 << 10;

/// Somebody with a mailbox that both APIs open.
struct Somebody {
    address: String,
    id: String,
    token: String,
}

impl Somebody {
    fn new(gateway: &Gateway, nth: usize) -> Self {
        let (address, token) = gateway.create(&format!("somebody{nth}"));
        let me = gateway.get("/me", &token);
        assert_eq!(me.status, 200, "{}", me.text());
        Self {
            address,
            id: me.field("id"),
            token,
        }
    }

    fn paths(&self) -> [String; 2] {
        let hub = format!("/.well-known/mercure?topic=/accounts/{}", self.id);
        ["/api/v1/events".to_owned(), hub]
    }
}

/// Opens a stream, and reads no more of it than that it is open.
fn open(to: SocketAddr, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

/// All streams of all of them; `STREAMS` in all.
fn open_all(gateway: &Gateway, all: &[Somebody]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(STREAMS);
    for somebody in all {
        for path in somebody.paths() {
            streams.extend((0..OF_EACH_KIND).map(|_| open(gateway.http, &path, &somebody.token)));
        }
    }
    gateway.await_metric("mayfly_http_event_streams", "", STREAMS as u64);
    streams
}

/// Reads a stream up to a text.
fn read_to(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(text) {
        let length = stream.read(&mut buffer).expect("something in time");
        assert_ne!(length, 0, "the stream has ended");
        read.extend_from_slice(&buffer[..length]);
    }
}

fn resident(gateway: &Gateway) -> u64 {
    gateway.metric("process_resident_memory_bytes", "")
}

#[test]
fn ten_thousand_open_streams_cost_little_and_leave_nothing() {
    tools::raise_the_limit_on_files();
    let gateway = Gateway::start(&format!(
        "{OPEN_DOORS}\n[http]\nconnections_per_client_max = 0\nconnections_max = {}\nheartbeat = \"1h\"\n\
         [store]\nwatchers_max = {}\n[compatibility]\nmail_tm = true\n",
        STREAMS + 10,
        2 * OF_EACH_KIND
    ));
    let all: Vec<Somebody> = (0..MAILBOXES)
        .map(|nth| Somebody::new(&gateway, nth))
        .collect();
    let before = resident(&gateway);
    let mut streams = open_all(&gateway, &all);
    let with = resident(&gateway);
    // One mailbox gets a message, and all who watch it are told.
    let reply = gateway.deliver(&all[0].address, "Subject: for forty\r\n\r\ntext");
    assert!(reply.starts_with("250"), "{reply}");
    for stream in &mut streams[..2 * OF_EACH_KIND] {
        read_to(stream, "\"subject\":\"for forty\"");
    }
    drop(streams);
    gateway.await_metric("mayfly_http_event_streams", "", 0);
    let after = resident(&gateway);
    // The second time there is memory for them from the first.
    let streams = open_all(&gateway, &all);
    let again = resident(&gateway);
    drop(streams);
    let figures =
        format!("{before} before, {with} with them, {after} after, {again} with as many again");
    // Shown whether it succeeds or not: docs/performance.md has them.
    let _ = writeln!(std::io::stdout(), "resident bytes: {figures}");
    let each = (with.saturating_sub(before)) / STREAMS as u64;
    assert!(
        each < RESIDENT_BYTES_EACH,
        "{each} bytes for each stream: {figures}"
    );
    assert!(
        again.saturating_sub(with) < with.saturating_sub(before) / 10,
        "the second time takes more: {figures}"
    );
    let health = request(gateway.operator, "GET", "/healthz", None, "");
    assert_eq!(health.status, 200);
}

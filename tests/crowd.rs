//! A crowd: twenty thousand connections held on one process while mail flows.
//!
//! One table of descriptors may be too small for that many, on both sides, so both use several: the server one for
//! each core, this test one for each of its threads. It stands in a file of its own because a thread that leaves the
//! shared table takes copies of all descriptors along.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway, OPEN_DOORS, PATIENCE, tools};
use mayfly::edge::ring::process::own_descriptor_table;
use socket2::{Domain, Socket, Type};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

const CROWD: usize = 20_000;

/// The most that one thread holds: an address has only so many ports.
const THREAD_MAX: usize = 10_000;

/// What an idle connection may cost in a build that is not optimised.
const RESIDENT_BYTES_EACH: u64 = 4 << 10;

/// How many connections one table of descriptors has room for, with the limit raised as far as it goes.
fn table_max() -> usize {
    let files = tools::raise_the_limit_on_files();
    let spare = 500;
    files.map_or(THREAD_MAX, |files| {
        usize::try_from(files).unwrap_or(THREAD_MAX) - spare
    })
}

/// Connects from an address of its own and reads the greeting.
fn connect(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .expect("bound");
    socket.connect(&to.into()).expect("connected");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).expect("greeted");
    assert_eq!(&greeting, b"220 ");
    stream
}

/// One thread's part of the crowd: connects, says so, waits until it is told to leave (or nobody is there to tell it),
/// and leaves.
fn gather(count: usize, source: IpAddr, smtp: SocketAddr, here: &Sender<()>, leave: &Receiver<()>) {
    own_descriptor_table().expect("a table of its own");
    let mut crowd: Vec<TcpStream> = Vec::with_capacity(count);
    crowd.extend((0..count).map(|_| connect(source, smtp)));
    let _ = here.send(());
    let _ = leave.recv();
    // The first and the last are still served.
    for stream in [crowd.swap_remove(0), crowd.pop().expect("many")] {
        let mut client = Client::over(stream);
        client.reply();
        client.ask("QUIT", "221");
    }
}

#[test]
fn twenty_thousand_connections_are_held_while_mail_flows() {
    let each = table_max().min(THREAD_MAX);
    let gateway = Gateway::start(&format!("{OPEN_DOORS}[server]\ncores = 3\n"));
    let (address, token) = gateway.create("among-many");
    let before = gateway.metric("process_resident_memory_bytes", "");
    std::thread::scope(|scope| {
        let (here, arrivals) = channel();
        // Dropped when this fails: then the others leave too.
        let mut leave = Vec::new();
        for thread in 0..CROWD.div_ceil(each) {
            let source = IpAddr::from([127, 0, 1, u8::try_from(thread + 1).expect("few threads")]);
            let count = each.min(CROWD - thread * each);
            let (here, smtp, (tell, told)) = (here.clone(), gateway.smtp, channel());
            leave.push(tell);
            scope.spawn(move || gather(count, source, smtp, &here, &told));
        }
        for _ in &leave {
            arrivals.recv_timeout(PATIENCE).expect("all are greeted");
        }
        gateway.await_metric("mayfly_smtp_connections", "", CROWD as u64);
        assert_eq!(
            gateway.metric("mayfly_smtp_connections_refused_total", ""),
            0
        );
        let now = gateway.metric("process_resident_memory_bytes", "");
        let grown = now.saturating_sub(before);
        assert!(
            grown < CROWD as u64 * RESIDENT_BYTES_EACH,
            "{grown} bytes for {CROWD} connections"
        );
        for nth in 1..=10 {
            let reply = gateway.deliver(&address, "Subject: excuse me\r\n\r\nmay I?");
            assert!(reply.starts_with("250"), "{reply}");
            assert_eq!(gateway.held(&token), nth);
        }
    });
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
    gateway.await_rest(0);
}

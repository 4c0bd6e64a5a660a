//! How large a task is, for whom its client counts, and how a session ends whose client does not read.

// Tests of the gateway believe everybody too.
#[path = "../../../tests/gateway/anybody.rs"]
mod anybody;

use super::*;
use crate::config::Config;
use crate::edge::arrivals::Door;
use crate::edge::core::Purpose;
use crate::edge::link::tests::{core, pair, poll};
use crate::edge::standing::Counted;
use rustls::{ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;

/// In a release build, whose compiler keeps eight bytes less, and with a header of 48 bytes: 640 from the allocator, which
/// gives 768 for one more.
const TASK_BYTES_MAX: usize = 600;

#[test]
fn a_task_has_room_for_what_it_does_most_and_no_more() {
    let core = core();
    let door = Rc::new(Door::all(&Config::default().listen).swap_remove(0));
    let client: IpAddr = "192.0.2.7".parse().expect("an address");
    let counted = core.admit(client).expect("there is room");
    let arrival = Arrival::new(&core, door, client, counted, Purpose::Mail);
    let (link, _peer) = pair(&core);
    let mut driver = Driver::new(&core, link, arrival);
    let task = size_of::<Driver>() + size_of_val(&driver.serve()) + size_of::<usize>();
    assert!(task <= TASK_BYTES_MAX, "{task} bytes");
}

#[test]
fn who_speaks_for_another_client_counts_as_that_one() {
    let core = core();
    let in_force = core.live();
    let admission = &in_force.under(Pressure::Normal).admission;
    let max = admission.connections_per_client_max as usize;
    let [proxy, client, busy] =
        ["127.0.0.1", "192.0.2.7", "192.0.2.8"].map(|text| text.parse().expect("an address"));
    let enter = |client: IpAddr, times: usize| {
        let counted = (0..times).map(|_| core.admit(client).ok());
        counted.collect::<Option<Vec<Counted>>>()
    };
    let _crowd = enter(busy, max).expect("there is room");
    let door = Rc::new(Door::all(&Config::default().listen).swap_remove(0));
    let counted = core.admit(proxy).expect("there is room");
    let arrival = Arrival::new(&core, door, proxy, counted, Purpose::Mail);
    let (link, _peer) = pair(&core);
    let mut driver = Driver::new(&core, link, arrival);
    let impersonate = |driver: &mut Driver, address: Option<&str>| {
        let address = address.map(|text| text.parse().expect("an address"));
        let result = driver.impersonate(&Impersonation { address });
        (result, driver.arrival.client)
    };
    assert_eq!(impersonate(&mut driver, None), (Ok(()), proxy));
    assert_eq!(
        impersonate(&mut driver, Some("192.0.2.8")),
        (Err(Reply::TooManyConnections), proxy)
    );
    assert_eq!(
        impersonate(&mut driver, Some("::ffff:192.0.2.7")),
        (Ok(()), client)
    );
    assert!(enter(proxy, max).is_some(), "it no longer counts as itself");
    assert!(enter(client, max).is_none(), "it counts as the other");
    assert!(enter(client, max - 1).is_some());
}

/// More replies than the buffers of [`narrow`] hold, in several pieces.
const HELPS: usize = 90;

/// A session that can send little before its client reads, at the first door of this kind.
fn narrow(core: &Rc<Core>, kind: Listener) -> (Driver, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 1).expect("the least there is");
    theirs.set_nonblocking(true).expect("set");
    let mut doors = Door::all(&Config::default().listen).into_iter();
    let door = Rc::new(doors.find(|it| it.kind == kind).expect("a door"));
    let client: IpAddr = "192.0.2.7".parse().expect("an address");
    let counted = core.admit(client).expect("there is room");
    let arrival = Arrival::new(core, door, client, counted, Purpose::Mail);
    let link = Link::new(core, core.ring.adopt(ours.into()));
    (Driver::new(core, link, arrival), theirs)
}

/// What a client asks for that reads nothing of it.
fn questions() -> Vec<u8> {
    [&b"HELP\r\n".repeat(HELPS)[..], b"QUIT\r\n"].concat()
}

/// All that a client gets that only now begins to read, which must come to an end.
fn read_all(
    core: &Rc<Core>,
    running: &mut Pin<&mut impl Future<Output = Ended>>,
    client: &mut impl Read,
) -> String {
    let mut read = Vec::new();
    loop {
        let lingers = poll(core, running).is_pending();
        assert!(lingers, "our end is not closed before the client's");
        match client.read_to_end(&mut read) {
            Ok(_) => return String::from_utf8(read).expect("text"),
            Err(why) => assert_eq!(why.kind(), ErrorKind::WouldBlock, "{why}"),
        }
    }
}

/// The codes of replies, each with how often it came in a row.
fn codes(replies: &str) -> Vec<(&str, usize)> {
    let mut codes: Vec<(&str, usize)> = Vec::new();
    for line in replies.lines() {
        match codes.last_mut() {
            Some((code, times)) if line.starts_with(*code) => *times += 1,
            _ => codes.push((&line[..3], 1)),
        }
    }
    codes
}

#[test]
fn whoever_gets_the_last_reply_late_gets_no_other() {
    for stops in [false, true] {
        let core = core();
        let (mut driver, mut client) = narrow(&core, Listener::Smtp);
        let mut running = pin!(driver.run_and_part());
        assert!(poll(&core, &mut running).is_pending());
        client.write_all(&questions()).expect("written");
        assert!(poll(&core, &mut running).is_pending());
        if stops {
            core.stage.set(Stage::Cutting);
            core.ring.wake_all();
        }
        let replies = read_all(&core, &mut running, &mut client);
        assert_eq!(codes(&replies), [("220", 1), ("214", HELPS), ("221", 1)]);
        drop(client);
        assert_eq!(poll(&core, &mut running), Poll::Ready(Ended::Quit));
        let replies = &core.metrics().smtp_replies;
        assert_eq!(replies.of(Reply::ShuttingDown.code()).value(), 0);
    }
}

#[test]
fn whoever_is_cut_off_gets_one_last_reply() {
    let core = core();
    let (mut driver, mut client) = narrow(&core, Listener::Smtp);
    let mut running = pin!(driver.run_and_part());
    assert!(poll(&core, &mut running).is_pending());
    core.stage.set(Stage::Cutting);
    core.ring.wake_all();
    let replies = read_all(&core, &mut running, &mut client);
    assert_eq!(codes(&replies), [("220", 1), ("421", 1)]);
    drop(client);
    assert_eq!(poll(&core, &mut running), Poll::Ready(Ended::Shutdown));
}

#[test]
fn a_last_reply_that_had_to_wait_ends_inside_tls() {
    let core = core();
    let (mut driver, client) = narrow(&core, Listener::Smtps);
    let mut running = pin!(driver.run_and_part());
    let mut client = StreamOwned::new(tls(), client);
    while client.conn.is_handshaking() {
        match client.conn.complete_io(&mut client.sock) {
            Ok(_) => {}
            Err(why) => assert_eq!(why.kind(), ErrorKind::WouldBlock, "{why}"),
        }
        assert!(poll(&core, &mut running).is_pending());
    }
    client.write_all(&questions()).expect("written");
    client.flush().expect("sent");
    assert!(poll(&core, &mut running).is_pending());
    // An end without close_notify would be an error.
    let replies = read_all(&core, &mut running, &mut client);
    assert_eq!(codes(&replies), [("220", 1), ("214", HELPS), ("221", 1)]);
    drop(client);
    assert_eq!(poll(&core, &mut running), Poll::Ready(Ended::Quit));
}

fn tls() -> ClientConnection {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = anybody::client(provider, rustls::DEFAULT_VERSIONS);
    let name = "mayfly.test".try_into().expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

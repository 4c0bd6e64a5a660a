use super::pool::BUFFER_BYTES;
use super::*;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::task::Waker;
use std::task::{Context, Poll};

const PATIENCE: Duration = Duration::from_millis(20);
const TURNS_MAX: usize = 500;

/// Pieces that the kernel delivers for one connection before it looks at anything else.
const KERNEL_BATCH: usize = 32;

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Turns the ring until `done`, or fails.
fn until<T>(ring: &Rc<Ring>, mut done: impl FnMut(&mut Turn) -> Option<T>) -> T {
    let mut turn = Turn::default();
    for _ in 0..TURNS_MAX {
        if let Some(found) = done(&mut turn) {
            return found;
        }
        ring.turn(PATIENCE, &mut turn).expect("the ring works");
    }
    panic!("it never came");
}

fn receive(ring: &Rc<Ring>, connection: &Connection) -> Received {
    until(ring, |_| match connection.poll_receive(&context()) {
        Poll::Ready(received) => Some(received),
        Poll::Pending => None,
    })
}

fn receive_bytes(ring: &Rc<Ring>, connection: &Connection, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match receive(ring, connection) {
            Received::Chunk(chunk) => bytes.extend_from_slice(&chunk),
            other => panic!("{other:?} after {} bytes", bytes.len()),
        }
    }
    bytes
}

fn sent(ring: &Rc<Ring>, connection: &Connection) -> Result<(), Lost> {
    until(ring, |_| match connection.poll_sent(&context()) {
        Poll::Ready(sent) => Some(sent),
        Poll::Pending => None,
    })
}

fn pair(ring: &Rc<Ring>) -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    (ring.adopt(ours.into()), theirs)
}

/// A connection over TCP.
fn pair_of_tcp(ring: &Rc<Ring>) -> (Connection, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let theirs = TcpStream::connect(address).expect("connected");
    let (ours, _) = listener.accept().expect("accepted");
    (ring.adopt(ours.into()), theirs)
}

/// Everything has come back: no connection, no operation, no buffer is missing.
fn assert_nothing_left(ring: &Rc<Ring>) {
    until(ring, |_| (ring.connections() == 0).then_some(()));
    let inner = ring.inner.borrow();
    assert_eq!(
        inner.pool.left(),
        inner.pool.entries(),
        "every buffer is back with the kernel"
    );
    assert!(
        inner
            .slots
            .iter()
            .all(|slot| slot.pending == 0 && slot.socket.is_none())
    );
}

#[test]
fn bytes_go_both_ways() {
    let ring = Ring::new(16).expect("a ring");
    let (connection, mut peer) = pair(&ring);
    peer.write_all(b"hello").expect("written");
    assert_eq!(receive_bytes(&ring, &connection, 5), b"hello");
    connection.send(b"good day".to_vec().into());
    assert_eq!(sent(&ring, &connection), Ok(()));
    let mut answer = [0; 8];
    peer.read_exact(&mut answer).expect("read");
    assert_eq!(&answer, b"good day");
    drop(peer);
    assert!(matches!(receive(&ring, &connection), Received::Ended));
    drop(connection);
    assert_nothing_left(&ring);
}

#[test]
fn the_last_bytes_arrive_whole_and_then_the_end() {
    let ring = Ring::new(16).expect("a ring");
    // The last is more than the kernel takes at once.
    for length in [0, 9, 16 << 20] {
        let (connection, mut peer) = pair_of_tcp(&ring);
        connection.send_last(vec![b'x'; length].into());
        assert_eq!(connection.is_sending(), length > 9, "{length} bytes");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        assert_eq!(sent(&ring, &connection), Ok(()));
        connection.shut_down_sending();
        assert!(matches!(receive(&ring, &connection), Received::Ended));
        let all = reader.join().expect("no panic").expect("an end");
        assert_eq!(all, vec![b'x'; length]);
    }
    let (connection, peer) = pair(&ring);
    drop(peer);
    connection.send_last(b"too late".to_vec().into());
    assert!(connection.is_lost());
    assert_eq!(sent(&ring, &connection), Err(Lost));
    drop(connection);
    assert_nothing_left(&ring);
}

/// The kernel keeps the last bytes for the end, for 200 ms at most: whoever is stopped for so long tries again.
#[test]
fn the_last_bytes_wait_for_the_end() {
    let ring = Ring::new(16).expect("a ring");
    let waited = (0..5).any(|_| {
        let (connection, mut peer) = pair_of_tcp(&ring);
        peer.set_nonblocking(true).expect("set");
        connection.send_last(b"bye".to_vec().into());
        let early = peer.read(&mut [0; 3]);
        connection.shut_down_sending();
        peer.set_nonblocking(false).expect("set");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).expect("an end");
        early.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock) && rest == b"bye"
    });
    assert!(waited, "they leave alone");
    assert_nothing_left(&ring);
}

#[test]
fn a_connection_has_a_small_place() {
    assert!(size_of::<Slot>() <= 96, "{} bytes", size_of::<Slot>());
}

#[test]
fn connections_are_accepted_and_the_bell_is_heard() {
    let ring = Ring::new(16).expect("a ring");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let number = ring.listen(listener.into());
    let clients: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(address).expect("connected"))
        .collect();
    let mut accepted = Vec::new();
    until(&ring, |turn| {
        accepted.append(&mut turn.accepted);
        (accepted.len() == clients.len()).then_some(())
    });
    assert!(accepted.iter().all(|(from, _)| *from == number));
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("a bell");
    ring.attach_bell(bell.as_fd());
    for _ in 0..3 {
        rustix::io::write(&bell, &1_u64.to_ne_bytes()).expect("rung");
        until(&ring, |turn| std::mem::take(&mut turn.bell).then_some(()));
    }
    ring.close_listeners();
    until(&ring, |_| {
        TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn a_connection_may_die_at_every_step() {
    let ring = Ring::new(16).expect("a ring");
    let steps: [fn(&Rc<Ring>, Connection, UnixStream); 8] = [
        |_, connection, _| drop(connection),
        |_, connection, mut peer| {
            peer.write_all(b"never read").expect("written");
            drop(connection);
        },
        |ring, connection, mut peer| {
            peer.write_all(b"unread").expect("written");
            until(ring, |_| connection.has_input().then_some(()));
            drop(connection);
        },
        |ring, connection, mut peer| {
            peer.write_all(b"half read").expect("written");
            let chunk = receive(ring, &connection);
            drop(connection);
            drop(chunk);
        },
        // The peer does not read: the send cannot complete.
        |ring, connection, _peer| {
            connection.send(vec![b'x'; 8 << 20].into());
            ring.turn(PATIENCE, &mut Turn::default())
                .expect("the ring works");
            assert!(connection.poll_sent(&context()).is_pending());
            drop(connection);
            until(ring, |_| (ring.connections() == 0).then_some(()));
        },
        |ring, connection, peer| {
            drop(peer);
            connection.send(b"to nobody".to_vec().into());
            assert_eq!(sent(ring, &connection), Err(Lost));
        },
        |_, connection, _| {
            connection.shut_down_sending();
            drop(connection);
        },
        |ring, connection, mut peer| {
            // More than the queue holds: its receive is being cancelled when it dies.
            peer.set_nonblocking(true).expect("set");
            for _ in 0..64 {
                let _ = peer.write(&[b'y'; 4096]);
                ring.turn(Duration::ZERO, &mut Turn::default())
                    .expect("the ring works");
            }
            drop(connection);
        },
    ];
    for round in 0..3 {
        for step in steps {
            let (connection, peer) = pair(&ring);
            step(&ring, connection, peer);
        }
        assert_nothing_left(&ring);
        let slots = ring.inner.borrow().slots.len();
        assert!(
            slots as usize <= steps.len(),
            "slots are used again: {slots} after round {round}"
        );
    }
}

#[test]
fn whoever_does_not_read_holds_little_and_loses_nothing() {
    let ring = Ring::new(32).expect("a ring");
    let (connection, mut peer) = pair(&ring);
    let text: Vec<u8> = (0..4_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    peer.set_nonblocking(true).expect("set");
    let mut written = 0;
    let mut turn = Turn::default();
    for _ in 0..200 {
        written += peer.write(&text[written..]).unwrap_or(0);
        ring.turn(Duration::ZERO, &mut turn)
            .expect("the ring works");
    }
    let unread = ring.inner.borrow().slots[0].queue.len();
    assert!(
        unread <= QUEUE_MAX + KERNEL_BATCH,
        "{unread} pieces for one connection"
    );
    assert!(written < text.len(), "the peer is held back");
    let (sender, rest) = (&mut peer, &text[written..]);
    let mut more = rest;
    let mut got = Vec::new();
    while got.len() < text.len() {
        let taken = sender.write(more).unwrap_or(0);
        more = &more[taken..];
        if let Received::Chunk(chunk) = receive(&ring, &connection) {
            got.extend_from_slice(&chunk);
        }
    }
    assert!(got == text, "every byte, in order");
    drop(connection);
    assert_nothing_left(&ring);
}

#[test]
fn the_pool_is_nobodys_own() {
    let ring = Ring::new(16).expect("a ring");
    let mut idle = Vec::new();
    for _ in 0..64 {
        let (connection, mut peer) = pair(&ring);
        peer.write_all(&[b'z'; BUFFER_BYTES]).expect("written");
        idle.push((connection, peer));
    }
    for _ in 0..20 {
        ring.turn(Duration::ZERO, &mut Turn::default())
            .expect("the ring works");
    }
    let (connection, mut peer) = pair(&ring);
    peer.write_all(b"me too").expect("written");
    assert_eq!(receive_bytes(&ring, &connection, 6), b"me too");
    for (connection, _) in &idle {
        assert_eq!(
            receive_bytes(&ring, connection, BUFFER_BYTES).len(),
            BUFFER_BYTES
        );
    }
    drop((idle, connection));
    assert_nothing_left(&ring);
}

#[test]
fn what_was_received_is_wiped_when_it_has_been_read() {
    let ring = Ring::new(16).expect("a ring");
    let (connection, mut peer) = pair(&ring);
    peer.write_all(b"secret").expect("written");
    let Received::Chunk(chunk) = receive(&ring, &connection) else {
        panic!("bytes came")
    };
    let Some(Piece::Buffer(buffer, _)) = chunk.piece else {
        panic!("in a buffer")
    };
    assert_eq!(&*chunk, b"secret");
    drop(chunk);
    let inner = ring.inner.borrow();
    // SAFETY: the buffer is with the kernel, which writes to it only when bytes come; none do.
    let left = unsafe { &*inner.pool.bytes(buffer, 6) };
    assert_eq!(left, &[0; 6]);
}

#[test]
fn a_ring_may_be_dropped_with_everything_under_way() {
    let ring = Ring::new(16).expect("a ring");
    let (connection, peer) = pair(&ring);
    connection.send(vec![b'x'; 8 << 20].into());
    ring.turn(Duration::ZERO, &mut Turn::default())
        .expect("the ring works");
    drop(connection);
    drop(ring);
    drop(peer);
}

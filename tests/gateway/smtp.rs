//! SMTP by hand: a client that says exactly what it is told, in the clear or inside TLS.

use super::PATIENCE;
use super::anybody;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

/// An SMTP client.
pub struct Client {
    wire: Wire,
    /// Read and not used yet.
    unread: Vec<u8>,
}

enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    pub fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).expect("connected"))
    }

    /// Connects from a source address of its own.
    pub fn connect_from(source: IpAddr, to: SocketAddr) -> Self {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(to),
            socket2::Type::STREAM,
            None,
        );
        let socket = socket.expect("a socket");
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .expect("bound");
        socket.connect(&to.into()).expect("connected");
        Self::over(socket.into())
    }

    /// Takes over a connection.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self {
            wire: Wire::Clear(stream),
            unread: Vec::new(),
        }
    }

    /// The socket, whatever is spoken over it.
    pub fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Clear(stream) => stream,
            Wire::Tls(tls) => &tls.sock,
        }
    }

    /// Runs a TLS handshake. What was read ahead would be a reply from outside TLS: there must be none.
    pub fn start_tls(self) -> Self {
        self.start_tls_sending(|stream, hello| stream.write_all(hello).expect("sent"))
    }

    /// The same; `send` sends the first flight.
    pub fn start_tls_sending(self, mut send: impl FnMut(&mut TcpStream, &[u8])) -> Self {
        assert!(
            self.unread.is_empty(),
            "cleartext before the handshake: {:?}",
            self.unread
        );
        let Wire::Clear(mut stream) = self.wire else {
            panic!("already inside TLS")
        };
        let mut tls = connection();
        send(&mut stream, &first_flight(&mut tls));
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).expect("a handshake");
        }
        Self {
            wire: Wire::Tls(Box::new(StreamOwned::new(tls, stream))),
            unread: Vec::new(),
        }
    }

    /// Says inside TLS that nothing more comes, and goes back to cleartext, against all rules.
    pub fn close_tls(self) -> Self {
        let Wire::Tls(mut tls) = self.wire else {
            panic!("not inside TLS")
        };
        tls.conn.send_close_notify();
        while tls.conn.wants_write() {
            tls.conn.write_tls(&mut tls.sock).expect("sent");
        }
        let StreamOwned { sock, .. } = *tls;
        Self {
            wire: Wire::Clear(sock),
            unread: Vec::new(),
        }
    }

    /// Changes the keys that it sends with, as often as it likes; the peer may be gone.
    pub fn refresh_keys(&mut self) -> io::Result<()> {
        let Wire::Tls(tls) = &mut self.wire else {
            panic!("not inside TLS")
        };
        tls.conn.refresh_traffic_keys().expect("TLS 1.3");
        tls.conn.write_tls(&mut tls.sock).map(|_| ())
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.try_raw(bytes).expect("sent");
    }

    /// Sends bytes as they are; the peer may be gone.
    pub fn try_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Clear(stream) => stream.write_all(bytes),
            Wire::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 4096];
        let read = match &mut self.wire {
            Wire::Clear(stream) => stream.read(&mut buffer),
            Wire::Tls(tls) => tls.read(&mut buffer),
        }?;
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read)
    }

    /// Reads a reply, all its lines; what there is of it when the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                reply.push_str(&String::from_utf8_lossy(&line));
                if line.get(3) != Some(&b'-') {
                    return reply;
                }
            }
            match self.read() {
                Ok(read) if read > 0 => {}
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    panic!("no reply in time, after {reply:?}")
                }
                _ => return reply,
            }
        }
    }

    /// Reads a reply and checks how it begins.
    pub fn expect(&mut self, beginning: &str) -> String {
        let reply = self.reply();
        assert!(
            reply.starts_with(beginning),
            "expected {beginning}, got {reply:?}"
        );
        reply
    }

    /// Says a line and checks how the reply begins.
    pub fn ask(&mut self, line: &str, beginning: &str) -> String {
        self.say(line);
        let reply = self.reply();
        assert!(
            reply.starts_with(beginning),
            "{line}: expected {beginning}, got {reply:?}"
        );
        reply
    }

    /// Everything up to the end of the connection, which must come.
    pub fn rest(&mut self) -> String {
        self.rest_of("this")
    }

    /// The same, for one of several cases.
    pub fn rest_of(&mut self, case: &str) -> String {
        loop {
            match self.read() {
                Ok(0) => break,
                Ok(_) => {}
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    panic!("{case}: the connection stays open")
                }
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// Whether the connection ends as agreed: inside TLS with a close_notify, or else the end could be anybody's.
    pub fn ends_well(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads the greeting, says EHLO.
    pub fn greet(&mut self) -> &mut Self {
        self.expect("220");
        self.ask("EHLO client.example", "250");
        self
    }

    /// Begins a transaction, up to the 354.
    pub fn begin(&mut self, to: &[&str]) -> &mut Self {
        self.ask("MAIL FROM:<sender@client.example>", "250");
        for to in to {
            self.ask(&format!("RCPT TO:<{to}>"), "250");
        }
        self.ask("DATA", "354");
        self
    }

    /// A whole session up to the end of one message, as it goes over the wire; returns the reply to that.
    pub fn deliver(&mut self, to: &[&str], content: &[u8]) -> String {
        self.greet().begin(to);
        self.raw(content);
        self.raw(b"\r\n.\r\n");
        self.reply()
    }
}

/// The first flight of a TLS client, in one record.
pub fn client_hello() -> Vec<u8> {
    first_flight(&mut connection())
}

fn connection() -> ClientConnection {
    let name = ServerName::try_from("mayfly.test").expect("a name");
    ClientConnection::new(trusting(), name).expect("a configuration")
}

fn first_flight(tls: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).expect("it goes into memory");
    }
    flight
}

/// Cuts the connection: the server gets RST instead of FIN.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("set");
}

/// TLS that trusts everybody: certificates are not what these tests are about.
fn trusting() -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(anybody::client(provider, rustls::DEFAULT_VERSIONS))
}

//! A client's connection: bytes out, replies in, in the clear or inside TLS. No allocation for a message once it is open.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// What is taken from a socket at a time.
const CIPHERTEXT_BYTES: usize = 16 * 1024;
/// A reply with more than this is no reply.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is none.
    Connect,
    /// It ended.
    Lost,
    /// What came is no reply.
    NoReply,
    /// TLS failed.
    Tls,
    /// It took too long.
    Timeout,
}

impl Fault {
    /// As in tallies.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::NoReply => "no_reply",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that came and were not read as a reply yet.
    input: Vec<u8>,
    read_to: usize,
}

impl Wire {
    /// Connects, from address number `source` of this machine if there is one.
    pub(crate) async fn connect(to: SocketAddr, source: Option<Ipv4Addr>) -> Result<Self, Fault> {
        let stream = async {
            let socket = if to.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            if let (Some(source), true) = (source, to.is_ipv4()) {
                socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
            }
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let tcp = stream.await.map_err(|_| Fault::Connect)?;
        Ok(Self {
            tcp,
            tls: None,
            input: Vec::new(),
            read_to: 0,
        })
    }

    /// Makes the connection one inside TLS.
    pub(crate) async fn handshake(
        &mut self,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<HandshakeKind, Fault> {
        let client =
            ClientConnection::new(Arc::clone(config), name.clone()).map_err(|_| Fault::Tls)?;
        self.tls = Some(Box::new(client));
        loop {
            self.flush_tls().await?;
            let Some(tls) = &self.tls else {
                return Err(Fault::Tls);
            };
            if !tls.is_handshaking() {
                return tls.handshake_kind().ok_or(Fault::Tls);
            }
            self.more().await?;
        }
    }

    /// Sends all of it, in as few writes as the kernel takes.
    pub(crate) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), Fault> {
        if self.tls.is_some() {
            for part in parts {
                self.send_tls(part).await?;
            }
            return self.flush_tls().await;
        }
        let mut slices = [IoSlice::new(&[]); 4];
        let count = parts.len().min(slices.len());
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let mut left = &mut slices[..count];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let written =
                poll_fn(|context| Pin::new(&mut self.tcp).poll_write_vectored(context, left)).await;
            match written {
                Ok(0) | Err(_) => return Err(Fault::Lost),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
            }
        }
        Ok(())
    }

    /// The code of the next reply.
    pub(crate) async fn reply(&mut self) -> Result<u16, Fault> {
        loop {
            match reply(&self.input[self.read_to..]) {
                Parsed::Whole { code, bytes } => {
                    self.read_to += bytes;
                    if self.read_to == self.input.len() {
                        self.input.clear();
                        self.read_to = 0;
                    }
                    return Ok(code);
                }
                Parsed::Wrong => return Err(Fault::NoReply),
                Parsed::Partial if self.input.len() - self.read_to > REPLY_BYTES_MAX => {
                    return Err(Fault::NoReply);
                }
                Parsed::Partial => self.more().await?,
            }
        }
    }

    /// Gives back the memory for replies: for connections that will be silent.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    /// Waits for bytes. Room for them is on the stack of the moment: a connection that waits has no buffer.
    async fn more(&mut self) -> Result<(), Fault> {
        let Self {
            tcp, tls, input, ..
        } = self;
        poll_fn(|context| {
            let mut room = [MaybeUninit::uninit(); CIPHERTEXT_BYTES];
            let mut buffer = ReadBuf::uninit(&mut room);
            match Pin::new(&mut *tcp).poll_read(context, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Poll::Ready(match tls {
                    Some(tls) => opened(tls, buffer.filled(), input),
                    None => {
                        input.extend_from_slice(buffer.filled());
                        Ok(())
                    }
                }),
                Poll::Ready(_) => Poll::Ready(Err(Fault::Lost)),
            }
        })
        .await
    }

    async fn send_tls(&mut self, mut part: &[u8]) -> Result<(), Fault> {
        while !part.is_empty() {
            let Some(tls) = &mut self.tls else {
                return Err(Fault::Tls);
            };
            let taken = tls.writer().write(part).map_err(|_| Fault::Tls)?;
            part = &part[taken..];
            if taken == 0 || !part.is_empty() {
                self.flush_tls().await?;
            }
        }
        Ok(())
    }

    async fn flush_tls(&mut self) -> Result<(), Fault> {
        while let Some(tls) = &mut self.tls
            && tls.wants_write()
        {
            let mut socket = Tried(&self.tcp);
            match tls.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.tcp.writable().await.map_err(|_| Fault::Lost)?
                }
                Err(_) => return Err(Fault::Lost),
            }
        }
        Ok(())
    }
}

/// What the records of `ciphertext` say goes behind `input`.
fn opened(
    tls: &mut ClientConnection,
    mut ciphertext: &[u8],
    input: &mut Vec<u8>,
) -> Result<(), Fault> {
    while !ciphertext.is_empty() {
        tls.read_tls(&mut ciphertext).map_err(|_| Fault::Tls)?;
        let state = tls.process_new_packets().map_err(|_| Fault::Tls)?;
        let start = input.len();
        input.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader()
            .read_exact(&mut input[start..])
            .map_err(|_| Fault::Tls)?;
    }
    Ok(())
}

/// A socket as rustls writes to it.
struct Tried<'a>(&'a TcpStream);

impl std::io::Write for Tried<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> std::io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Parsed {
    Whole { code: u16, bytes: usize },
    Partial,
    Wrong,
}

/// Reads one reply, of however many lines (RFC 5321 section 4.2).
fn reply(text: &[u8]) -> Parsed {
    let mut start = 0;
    while let Some(end) = text[start..].iter().position(|byte| *byte == b'\n') {
        let line = &text[start..start + end];
        let code = line
            .get(..3)
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| code.parse().ok());
        let Some(code) = code else {
            return Parsed::Wrong;
        };
        start += end + 1;
        if line.get(3) != Some(&b'-') {
            return Parsed::Whole { code, bytes: start };
        }
    }
    Parsed::Partial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_may_have_lines_and_come_in_pieces() {
        let text = b"250-mayfly.test\r\n250-SIZE\r\n250 HELP\r\n354 go\r\n";
        let first = 37;
        for cut in 0..=text.len() {
            match reply(&text[..cut]) {
                Parsed::Whole { code, bytes } => assert!(
                    cut >= first && code == 250 && bytes == first,
                    "{cut} {bytes}"
                ),
                Parsed::Partial => assert!(cut < first, "{cut}"),
                Parsed::Wrong => panic!("{cut}"),
            }
        }
        assert!(matches!(
            reply(&text[first..]),
            Parsed::Whole { code: 354, .. }
        ));
        assert!(matches!(reply(b"hello\r\n"), Parsed::Wrong));
        assert!(matches!(reply(b"2\r\n"), Parsed::Wrong));
    }
}

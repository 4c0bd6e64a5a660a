//! TLS without I/O: records in, plaintext and records out.
//!
//! rustls' unbuffered interface is used, so that between records an idle connection holds no
//! buffer, and what was decrypted lies only in memory that we own.

use crate::mail::trace::Protection;
use crate::metrics::TlsVersion;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use std::fmt;
use std::sync::Arc;

/// Ciphertext that may wait for the rest of its record, or for a handshake to go on.
/// A record is 16 KiB and some; a handshake's messages may be 64 KiB together.
const INCOMING_BYTES_MAX: usize = 80 << 10;

/// What one record carries at most (RFC 8446 section 5.1).
const FRAGMENT_BYTES_MAX: usize = 16 << 10;

/// What encryption adds to a fragment at most (RFC 8446 section 5.2), header included.
const RECORD_OVERHEAD_BYTES: usize = 5 + 256;

/// One connection's TLS.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// Ciphertext that is not processed yet; empty, without memory, between records.
    incoming: Vec<u8>,
    established: bool,
    closed: bool,
    /// The peer broke the rules. rustls is not asked again then: it would look at the offending bytes once more.
    broken: bool,
    /// Our close_notify has been made: nothing more may be sent.
    finished: bool,
}

/// Why TLS ended a connection.
#[derive(Debug)]
pub struct Broken(pub rustls::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Whether the session was resumed with a ticket.
    pub resumed: bool,
    /// The version.
    pub version: TlsVersion,
    /// What trace headers say of it.
    pub protection: Option<Protection>,
}

/// How far a call to [`Tls::receive`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The handshake goes on.
    Handshaking,
    /// Application data may flow.
    Established,
    /// The peer has said that it sends nothing more. What comes after is never read.
    Closed,
}

impl Tls {
    /// TLS that waits for a ClientHello.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Broken> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config).map_err(Broken)?,
            incoming: Vec::new(),
            established: false,
            closed: false,
            broken: false,
            finished: false,
        })
    }

    /// Takes ciphertext; appends what it decrypts to `plaintext` and what must be sent to `outgoing`.
    ///
    /// # Errors
    /// When the peer broke the rules. `outgoing` then holds the alert that tells it so.
    pub fn receive(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Progress, Broken> {
        if self.closed {
            return Ok(Progress::Closed);
        }
        if self.incoming.len() + ciphertext.len() > INCOMING_BYTES_MAX {
            return Err(Broken(rustls::Error::General(
                "a handshake too large".to_owned(),
            )));
        }
        self.incoming.extend_from_slice(ciphertext);
        let mut used = 0;
        let result = loop {
            let UnbufferedStatus { discard, state, .. } = self
                .connection
                .process_tls_records(&mut self.incoming[used..]);
            let mut discard = discard;
            let step = match state {
                Ok(state) => Self::step(state, &mut discard, plaintext, outgoing),
                Err(error) => Err(Broken(error)),
            };
            used += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Established) => {
                    self.established = true;
                    break Ok(Progress::Established);
                }
                Ok(Step::NeedInput) => break Ok(self.progress()),
                Ok(Step::Closed) => {
                    self.closed = true;
                    break Ok(Progress::Closed);
                }
                Err(broken) => {
                    (self.closed, self.broken) = (true, true);
                    self.alert(outgoing);
                    break Err(broken);
                }
            }
        };
        self.keep_from(used);
        result
    }

    /// One state of the connection.
    fn step(
        state: ConnectionState<'_, '_, rustls::server::ServerConnectionData>,
        discard: &mut usize,
        plaintext: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Step, Broken> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(Broken)?;
                    plaintext.extend_from_slice(record.payload);
                    *discard += record.discard;
                }
                Ok(Step::Again)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let start = outgoing.len();
                match data.encode(&mut []) {
                    Err(EncodeError::InsufficientSize(size)) => {
                        outgoing.resize(start + size.required_size, 0);
                        data.encode(&mut outgoing[start..])
                            .map_err(|error| general(&error))?;
                    }
                    Ok(_) | Err(EncodeError::AlreadyEncoded) => {}
                }
                Ok(Step::Again)
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Ok(Step::Again)
            }
            ConnectionState::WriteTraffic(_) => Ok(Step::Established),
            ConnectionState::BlockedHandshake => Ok(Step::NeedInput),
            ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::Closed),
            // Early data is never offered (max_early_data_size is 0), and rustls adds states over time.
            _ => Err(Broken(rustls::Error::General(
                "an unexpected state".to_owned(),
            ))),
        }
    }

    /// Appends `plaintext`, encrypted, to `outgoing`.
    ///
    /// rustls is shown what is left of the input again: it may hold the start of a message there, and [`Tls::receive`]
    /// has left nothing whole.
    ///
    /// # Errors
    /// When the handshake is not complete, or the connection's keys are used up.
    pub fn encrypt(&mut self, plaintext: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Broken> {
        if self.broken || self.finished {
            return Err(Broken(rustls::Error::HandshakeNotComplete));
        }
        for fragment in plaintext.chunks(FRAGMENT_BYTES_MAX) {
            let start = outgoing.len();
            outgoing.resize(start + fragment.len() + RECORD_OVERHEAD_BYTES, 0);
            let UnbufferedStatus { state, .. } =
                self.connection.process_tls_records(&mut self.incoming);
            let ConnectionState::WriteTraffic(mut traffic) = state.map_err(Broken)? else {
                return Err(Broken(rustls::Error::HandshakeNotComplete));
            };
            let written = traffic
                .encrypt(fragment, &mut outgoing[start..])
                .map_err(|error: EncryptError| general(&error))?;
            outgoing.truncate(start + written);
        }
        Ok(())
    }

    /// Appends a close_notify to `outgoing` (RFC 8446 section 6.1), unless that has been done before.
    pub fn close(&mut self, outgoing: &mut Vec<u8>) {
        if self.broken || std::mem::replace(&mut self.finished, true) {
            return;
        }
        let start = outgoing.len();
        outgoing.resize(start + RECORD_OVERHEAD_BYTES, 0);
        let UnbufferedStatus { state, .. } =
            self.connection.process_tls_records(&mut self.incoming);
        let written = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic
                .queue_close_notify(&mut outgoing[start..])
                .unwrap_or(0),
            _ => 0,
        };
        outgoing.truncate(start + written);
    }

    /// What was agreed on. Known after the handshake.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        let (version, name) = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => (TlsVersion::Tls12, "1.2"),
            Some(rustls::ProtocolVersion::TLSv1_3) => (TlsVersion::Tls13, "1.3"),
            _ => (TlsVersion::None, ""),
        };
        Agreed {
            resumed: self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            version,
            protection: self.cipher().map(|cipher| Protection {
                version: name,
                cipher,
            }),
        }
    }

    /// The name of the cipher suite without the `TLS` that it begins with; rustls begins those of TLS 1.3 with `TLS13`.
    fn cipher(&self) -> Option<&'static str> {
        let name = self
            .connection
            .negotiated_cipher_suite()?
            .suite()
            .as_str()?;
        name.strip_prefix("TLS13_")
            .or_else(|| name.strip_prefix("TLS_"))
    }

    const fn progress(&self) -> Progress {
        if self.established {
            Progress::Established
        } else {
            Progress::Handshaking
        }
    }

    /// What rustls has ready after an error: an alert. It is asked for no more than that, since it would look at the
    /// offending bytes again.
    fn alert(&mut self, outgoing: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            let Ok(state @ ConnectionState::EncodeTlsData(_)) = state else {
                return;
            };
            if Self::step(state, &mut 0, &mut Vec::new(), outgoing).is_err() {
                return;
            }
        }
    }

    fn keep_from(&mut self, used: usize) {
        if used == self.incoming.len() {
            self.incoming = Vec::new();
        } else if used > 0 {
            // The rest moves to the front; what it leaves behind was ciphertext or has been decrypted in place.
            let rest = self.incoming[used..].to_vec();
            self.incoming = rest;
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

enum Step {
    Again,
    Established,
    NeedInput,
    Closed,
}

fn general(error: &dyn std::error::Error) -> Broken {
    Broken(rustls::Error::General(error.to_string()))
}

//! A machine that is called: it writes down what it gets and answers as the path says.

use crate::gateway::PATIENCE;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};

/// A call, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// What is handed to a verifier.
    pub(crate) fn signed_with(&self, secret: &str) -> Value {
        serde_json::json!({ "secret": secret, "headers": self.fields, "body": self.body })
    }
}

/// A machine on a port of its own, until the test ends.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    calls: Channel<Call>,
}

impl Receiver {
    /// One that speaks plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// One that speaks TLS, if there is a configuration.
    pub(crate) fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (tell, calls) = channel();
        let attempts = Arc::new(Mutex::new(BTreeMap::new()));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (tell, tls, attempts) = (tell.clone(), tls.clone(), Arc::clone(&attempts));
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(PATIENCE));
                    match tls {
                        None => answer(stream, &tell, &attempts),
                        Some(tls) => {
                            let tls = ServerConnection::new(tls).expect("a configuration");
                            answer(StreamOwned::new(tls, stream), &tell, &attempts);
                        }
                    }
                });
            }
        });
        Self { address, calls }
    }

    /// A URL of this machine.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next call.
    pub(crate) fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a call in time")
    }

    /// The calls that have come and were not taken.
    pub(crate) fn others(&self) -> Vec<Call> {
        self.calls.try_iter().collect()
    }
}

/// Reads one call, writes it down, and answers.
fn answer(
    mut stream: impl Read + Write,
    tell: &Sender<Call>,
    attempts: &Mutex<BTreeMap<String, u32>>,
) {
    let Some(call) = read(&mut stream) else {
        return;
    };
    let path = call.path.clone();
    let _ = tell.send(call);
    let nth = {
        let mut attempts = attempts.lock().expect("nobody panics here");
        let nth = attempts.entry(path.clone()).or_insert(0);
        *nth += 1;
        *nth
    };
    let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let head = match words[..] {
        ["ok", ..] => "204 No Content\r\n",
        ["gone"] => "410 Gone\r\n",
        ["redirect"] => "302 Found\r\nLocation: /ok/redirected\r\n",
        ["third"] if nth >= 3 => "204 No Content\r\n",
        ["endless"] => "200 OK\r\nTransfer-Encoding: chunked\r\n",
        ["slow"] => {
            // Until whoever called hangs up.
            let _ = stream.read(&mut [0]);
            return;
        }
        ["nonsense"] => {
            let _ = stream.write_all(b"SSH-2.0-nonsense\r\n\r\n");
            return;
        }
        _ => "500 Internal Server Error\r\n",
    };
    let length = match words[0] {
        "endless" => "",
        _ => "Content-Length: 0\r\n",
    };
    let _ = stream.write_all(format!("HTTP/1.1 {head}{length}\r\n").as_bytes());
    // A body without an end, for as long as anybody takes it.
    while words[0] == "endless" && stream.write_all(b"1000\r\n").is_ok() {
        if stream.write_all(&[b'x'; 0x1000]).is_err() || stream.write_all(b"\r\n").is_err() {
            return;
        }
    }
    let _ = stream.flush();
}

fn read(stream: &mut impl Read) -> Option<Call> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
        more(stream, &mut bytes)?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let fields: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = fields.get("content-length")?.parse().ok()?;
    while bytes.len() < end + 4 + length {
        more(stream, &mut bytes)?;
    }
    let body = String::from_utf8(bytes[end + 4..].to_vec()).ok()?;
    Some(Call { path, fields, body })
}

fn more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
    bytes.extend_from_slice(&buffer[..read]);
    Some(())
}

/// Whether anybody knocks at a listener that accepts nobody.
pub(crate) fn is_quiet(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("set");
    let accepted: std::io::Result<(TcpStream, SocketAddr)> = listener.accept();
    accepted.is_err_and(|why| why.kind() == std::io::ErrorKind::WouldBlock)
}

/// A certificate for `localhost` by an authority of the test's own; its certificate as PEM.
pub(crate) fn authority() -> (String, Arc<ServerConfig>) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().expect("a key");
    let mut ours = CertificateParams::new(Vec::<String>::new()).expect("no names");
    ours.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = ours.self_signed(&key).expect("signed");
    let issuer = Issuer::new(ours, key);
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&leaf_key, &issuer).expect("signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
        )
        .expect("they fit");
    (certificate.pem(), Arc::new(tls))
}

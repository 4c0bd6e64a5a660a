//! Calls to other machines, for people who are not to be trusted with the choice of whom we call.
//!
//! The name in a URL is looked up first. Every address that it leads to is judged ([`crate::policy::destinations`]), and one
//! that may not be called spoils all of them. Then a connection is made to such an address and not to the name again, so
//! that it cannot lead elsewhere in the meantime. TLS is asked for the name. No redirect is followed, nothing of an answer
//! is read but its head, and no connection is used twice: its address was judged for one call.

use crate::policy::destinations::{Judgement, judge};
use crate::policy::webhooks::{Host, Rules, Target};
use axum::body::Bytes;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tower::Service as _;

/// The most addresses that a name may lead to. Price: each is judged, with a socket, on the thread that serves HTTP.
const ADDRESSES_JUDGED_MAX: usize = 64;

/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// The most fields in the head of an answer.
const FIELDS_MAX: usize = 64;

/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The part of a call's time in which it must get its turn to look up a name. So whoever gets one late has most of
/// its time left, and is not taken for somebody who called a receiver that is slow.
const TURN_SHARE: u32 = 4;

/// What we call ourselves.
const USER_AGENT: &str = concat!("mayfly/", env!("CARGO_PKG_VERSION"));

/// Why nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// All turns to look up a name were taken, for as long as a call may wait for one. Nobody was called.
    Busy,
    /// No connection could be made.
    Connect,
    /// The name leads to an address that may not be called.
    Forbidden,
    /// The name leads nowhere.
    Name,
    /// What came back is no answer.
    Protocol,
    /// It took too long.
    Timeout,
    /// TLS failed: the certificate does not fit, or is not trusted.
    Tls,
}

/// The head of an answer, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// How long whoever answered wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Who calls.
#[derive(Debug)]
pub(super) struct Caller {
    /// Made when it is needed for the first time. `None`: no root certificates are there.
    tls: OnceCell<Option<Arc<ClientConfig>>>,
    /// To look up a name. Each keeps a thread.
    lookups: Arc<Turns>,
}

impl Caller {
    /// Looks up so many names at a time.
    pub(super) fn new(lookups: u32) -> Self {
        Self {
            tls: OnceCell::new(),
            lookups: Arc::new(Turns::new(lookups)),
        }
    }

    /// Sends a request with a body, in `time`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn post(
        &self,
        target: &Target,
        fields: HeaderMap,
        body: Bytes,
        rules: &Rules,
        time: Duration,
    ) -> Result<Answered, Failure> {
        let began = Instant::now();
        let (turn_by, deadline) = (began + time / TURN_SHARE, began + time);
        self.lookups.set(rules.at_once);
        let call = async {
            let addresses = self.addresses(target, rules, turn_by).await?;
            let stream = connect(&addresses, deadline).await?;
            let tls = match target.is_https() {
                true => Some(self.tls().await.ok_or(Failure::Tls)?),
                false => None,
            };
            send(stream, tls, target, fields, body).await
        };
        timeout_at(deadline, call)
            .await
            .map_err(|_| Failure::Timeout)?
    }

    /// Where a URL leads, if all of it may be called.
    async fn addresses(
        &self,
        target: &Target,
        rules: &Rules,
        turn_by: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let found = match target.host() {
            Host::Address(address) => vec![SocketAddr::new(*address, target.port())],
            Host::Name(name) => self.look_up(name.clone(), target.port(), turn_by).await?,
        };
        if found.is_empty() {
            return Err(Failure::Name);
        }
        if found.len() > ADDRESSES_JUDGED_MAX {
            return Err(Failure::Forbidden);
        }
        match found.iter().all(|it| may_be_called(it.ip(), rules)) {
            true => Ok(found),
            false => Err(Failure::Forbidden),
        }
    }

    async fn look_up(
        &self,
        name: String,
        port: u16,
        turn_by: Instant,
    ) -> Result<Vec<SocketAddr>, Failure> {
        // The thread of a look-up goes on when nobody waits for it any more, and keeps its turn until it ends. So there are
        // never more threads than turns, and names whose servers are dead can keep all of them for a while.
        let turn = timeout_at(turn_by, self.lookups.take()).await;
        let turn = turn.ok().flatten().ok_or(Failure::Busy)?;
        let found = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            (name, port)
                .to_socket_addrs()
                .map(|found| found.collect::<Vec<_>>())
        });
        found.await.ok().and_then(Result::ok).ok_or(Failure::Name)
    }

    async fn tls(&self) -> Option<Arc<ClientConfig>> {
        let made = self.tls.get_or_init(|| async {
            let made = tokio::task::spawn_blocking(client_configuration).await;
            match made.unwrap_or_else(|why| Err(io::Error::other(why))) {
                Ok(made) => Some(Arc::new(made)),
                Err(why) => {
                    tracing::error!(error = %why, "https:// cannot be called: there are no root certificates (SSL_CERT_FILE)");
                    None
                }
            }
        });
        made.await.clone()
    }
}

/// Turns of which there are as many as the settings say, now or as soon as those that are out come back.
#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    /// How many there are, free or out.
    made: AtomicU32,
    /// How many there should be.
    wanted: AtomicU32,
}

/// One of them.
struct Turn {
    turns: Arc<Turns>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// There is always one.
    fn new(wanted: u32) -> Self {
        let wanted = wanted.max(1);
        Self {
            free: Arc::new(Semaphore::new(wanted as usize)),
            made: AtomicU32::new(wanted),
            wanted: AtomicU32::new(wanted),
        }
    }

    fn set(&self, wanted: u32) {
        let wanted = wanted.max(1);
        self.wanted.store(wanted, Relaxed);
        let before = self.made.fetch_max(wanted, Relaxed);
        self.free
            .add_permits(wanted.saturating_sub(before) as usize);
        while self.is_one_too_many() {
            if self.free.forget_permits(1) == 0 {
                // All are out.
                self.made.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    async fn take(self: &Arc<Self>) -> Option<Turn> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        permit.is_some().then(|| Turn {
            turns: Arc::clone(self),
            permit,
        })
    }

    /// Whether there are more than there should be. If so there is one less from now on, which is to be forgotten.
    fn is_one_too_many(&self) -> bool {
        let wanted = self.wanted.load(Relaxed);
        let less = |made| (made > wanted).then(|| made - 1);
        self.made.fetch_update(Relaxed, Relaxed, less).is_ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.turns.is_one_too_many()
        {
            permit.forget();
        }
    }
}

/// TLS as the machine trusts it.
fn client_configuration() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut made = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_native_roots()?
        .with_no_client_auth();
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Nothing is kept of whom we have called.
    made.resumption = Resumption::disabled();
    Ok(made)
}

/// Whether an address may be called, and is not one of this machine's own unless the operator says so.
fn may_be_called(address: IpAddr, rules: &Rules) -> bool {
    match judge(address, &rules.allow_networks, &rules.deny_networks) {
        Judgement::Permitted => true,
        Judgement::PermittedUnlessOwn => !is_own(address),
        Judgement::Denied | Judgement::Special(_) => false,
    }
}

/// Whether an address is this machine's own: the kernel would talk to it from itself. Nothing is sent.
fn is_own(address: IpAddr) -> bool {
    const ANY_PORT: u16 = 9;
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect((address, ANY_PORT))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

/// Connects to the first address that answers. Each has its share of the time that is left.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let count = addresses.len().min(ADDRESSES_MAX);
    let mut why = Failure::Connect;
    for (nth, address) in addresses.iter().take(count).enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - nth).unwrap_or(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => why = Failure::Connect,
            Err(_) => why = Failure::Timeout,
        }
    }
    Err(why)
}

/// Sends a request over a new connection and reads the head of the answer. Then the connection is closed.
async fn send(
    stream: TcpStream,
    tls: Option<Arc<ClientConfig>>,
    target: &Target,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Answered, Failure> {
    let request = request(target, fields, body).ok_or(Failure::Protocol)?;
    let response = match tls {
        None => exchange(TokioIo::new(stream), request).await?,
        Some(tls) => {
            let uri: Uri = target.as_str().parse().map_err(|_| Failure::Protocol)?;
            let mut stream = Some(TokioIo::new(stream));
            let once = tower::service_fn(move |_: Uri| {
                let stream = stream.take();
                async move { stream.ok_or_else(|| io::Error::other("it was used")) }
            });
            let mut connector = HttpsConnector::from((once, tls));
            let secured = connector.call(uri).await.map_err(|_| Failure::Tls)?;
            exchange(secured, request).await?
        }
    };
    let asked = response.headers().get(header::RETRY_AFTER);
    let secs = asked.and_then(|it| it.to_str().ok()?.trim().parse().ok());
    Ok(Answered {
        status: response.status(),
        retry_after: secs.map(Duration::from_secs),
    })
}

fn request(target: &Target, mut fields: HeaderMap, body: Bytes) -> Option<Request<Full<Bytes>>> {
    fields.insert(
        header::HOST,
        HeaderValue::from_str(target.authority()).ok()?,
    );
    fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut request = Request::post(target.path_and_query())
        .body(Full::new(body))
        .ok()?;
    *request.headers_mut() = fields;
    Some(request)
}

/// One request and the head of its answer.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<axum::http::Response<Incoming>, Failure>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(stream)
        .await
        .map_err(|_| Failure::Protocol)?;
    let mut connection = pin!(connection);
    let mut answered = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answered => answer,
        // What it has read may be an answer all the same.
        _ = &mut connection => answered.await,
    };
    answer.map_err(|_| Failure::Protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gets_no_turn_to_look_up_a_name_has_called_nobody() {
        let rules = Rules {
            at_once: 1,
            ..Rules::default()
        };
        let caller = Caller::new(rules.at_once);
        let target = Target::parse("https://receiver.example/", &rules).expect("a target");
        let _turn = caller.lookups.take().await.expect("the only one");
        let (began, time) = (Instant::now(), Duration::from_secs(2));
        let called = caller.post(&target, HeaderMap::new(), Bytes::new(), &rules, time);
        assert_eq!(called.await, Err(Failure::Busy));
        assert!(
            began.elapsed() < time,
            "whoever gets a turn has time left to call"
        );
    }

    #[tokio::test]
    async fn turns_to_look_up_names_follow_the_settings() {
        let turns = Arc::new(Turns::new(0));
        let free = |turns: &Arc<Turns>| turns.free.available_permits();
        let first = turns.take().await.expect("there is always one");
        assert_eq!(free(&turns), 0);
        turns.set(3);
        assert_eq!(free(&turns), 2);
        let second = turns.take().await.expect("a free one");
        turns.set(1);
        assert_eq!(free(&turns), 0, "what is free goes at once");
        drop(first);
        assert_eq!(free(&turns), 0, "what is out goes when it comes back");
        drop(second);
        assert_eq!(free(&turns), 1);
        turns.set(2);
        assert_eq!(free(&turns), 2);
    }

    #[test]
    fn the_machine_knows_its_own_addresses() {
        for own in ["127.0.0.1", "127.86.75.30"] {
            assert!(is_own(own.parse().expect("an address")), "{own}");
        }
        // From the networks for documentation: nobody has them.
        assert!(!is_own("192.0.2.1".parse().expect("an address")));
    }
}

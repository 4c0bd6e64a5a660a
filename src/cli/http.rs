//! HTTP as a client: one request after another, each with an end.
//!
//! A server that asks for patience (429 or 503 with `Retry-After`) gets it, up to a bound. Redirects are not followed, so a
//! token goes to the server that was named and to no other.

use super::output::tell;
use super::secret::Secret;
use super::{Exit, Failure, harmless};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How long a connection may take to be made, TLS excepted.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take to begin, beyond what the call itself asks the server to wait, and each piece of it to come.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The largest answer that is kept in memory. What may be larger is written as it comes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long a server may ask a client to wait, in all, before one call is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server's wish to be left alone is taken for, if it does not say for how long.
const RETRY_UNSAID: Duration = Duration::from_secs(5);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base(String);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Base {
    /// Reads `http://host:port`, `https://host/path`; a slash at the end counts for nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            // What stands before an @ may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            Failure::usage(format!(
                "{:?} is not the URL of a server",
                harmless::line(shown)
            ))
            .because(why)
            .fix("write it like http://127.0.0.1:8025 or https://mail.example.com")
        };
        let text = text.trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read"))?;
        if ![Some("http"), Some("https")].contains(&uri.scheme_str()) {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if uri
            .authority()
            .is_none_or(|host| host.as_str().contains('@'))
        {
            return Err(wrong("a name or an address is missing, or a user is in it"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        Ok(Self(text.to_owned()))
    }

    fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    fn uri(&self, path: &str) -> Result<Uri, Failure> {
        format!("{}{path}", self.0).parse().map_err(|_| {
            Failure::usage("this cannot be asked for: it has characters that no URL has")
        })
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What is to be done.
    pub(super) method: Method,
    /// With what, below the server's URL.
    pub(super) path: &'a str,
    /// In whose name.
    pub(super) secret: Option<&'a Secret>,
    /// With these fields.
    pub(super) body: Option<Value>,
    /// After which event a stream goes on.
    pub(super) last_event_id: Option<&'a str>,
    /// How long the server may let it wait, as it was asked to.
    pub(super) wait: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: &'a str, secret: Option<&'a Secret>) -> Self {
        Self {
            method,
            path,
            secret,
            body: None,
            last_event_id: None,
            wait: Duration::ZERO,
        }
    }

    pub(super) fn get(path: &'a str, secret: Option<&'a Secret>) -> Self {
        Self::new(Method::GET, path, secret)
    }
}

type Inner = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of one server.
pub(super) struct Client {
    base: Base,
    inner: Inner,
    runtime: Runtime,
    /// How long a server may ask it to wait, for one call.
    patience: Duration,
    /// How long an answer may take to begin, and each piece of it to come.
    time: Duration,
    /// What helps when it cannot be reached.
    help: &'static str,
}

/// What helps when a public listener cannot be reached.
const HELP: &str = "start it (`mayfly`), or name another server with --server or MAYFLY_SERVER";

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

/// Signals that tell the process to end.
pub(super) struct StopSignals([Signal; 3]);

/// An answer that comes piece by piece.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    client: &'a Client,
    response: Response<Incoming>,
}

impl Client {
    /// A client of the server at `base`. For HTTPS it trusts whom the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR`
    /// name others).
    pub(super) fn new(base: Base) -> Result<Self, Failure> {
        let cannot = |what: &str, why: &dyn fmt::Display| {
            Failure::new(Exit::Failure, "client", format!("cannot {what}: {why}"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|why| cannot("start the client", &why))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIME));
        tcp.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new();
        let builder = match base.is_https() {
            true => builder
                .with_provider_and_native_roots(aws_lc_rs::default_provider())
                .map_err(|why| {
                    cannot("read the system's certificate authorities", &why)
                        .fix("apt-get install ca-certificates, or SSL_CERT_FILE=/path/of/authorities.pem")
                })?,
            // The authorities are not read where they are not needed.
            false => builder.with_tls_config(without_authorities().map_err(|why| cannot("set up TLS", &why))?),
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self {
            base,
            inner: legacy::Client::builder(TokioExecutor::new()).build(connector),
            runtime,
            patience: PATIENCE,
            time: ANSWER_TIME,
            help: HELP,
        })
    }

    /// The same, but never more patient than this.
    pub(super) fn patient_for(mut self, most: Duration) -> Self {
        self.patience = self.patience.min(most);
        self
    }

    /// The same, for a server that must be quick.
    pub(super) const fn answered_in(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The same, with other words about what helps when it cannot be reached.
    pub(super) const fn helped_by(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Asks, and gives the answer as JSON (null if it is empty).
    pub(super) fn json(&self, call: &Call<'_>) -> Result<Value, Failure> {
        let bytes = self.bytes(call)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| self.no_mayfly("the answer is not JSON"))
    }

    /// Asks, and gives the whole answer.
    pub(super) fn bytes(&self, call: &Call<'_>) -> Result<Vec<u8>, Failure> {
        self.open(call)?.whole()
    }

    /// Asks, and gives the answer as it comes. A server that asks for patience gets it.
    pub(super) fn open(&self, call: &Call<'_>) -> Result<Stream<'_>, Failure> {
        let mut left = self.patience;
        loop {
            let response = self.once(call)?;
            if response.status().is_success() {
                let client = self;
                return Ok(Stream { client, response });
            }
            let pause = pause(response.status(), response.headers(), left);
            let problem = self.problem(response)?;
            let Some(pause) = pause else {
                return Err(problem);
            };
            tell(format_args!(
                "{} (waiting {} s, as the server asks)",
                problem.what,
                pause.as_secs_f32().ceil()
            ));
            left -= pause;
            self.pause(pause);
        }
    }

    /// Lets time pass.
    pub(super) fn pause(&self, time: Duration) {
        // Made inside of the runtime, whose clock it goes by.
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    /// Takes note of signals that tell the process to end, from now on.
    pub(super) fn stop_signals(&self) -> io::Result<StopSignals> {
        self.runtime.block_on(async {
            Ok(StopSignals([
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ]))
        })
    }

    /// Whether such a signal has come.
    pub(super) fn told_to_stop(&self, signals: &mut StopSignals) -> bool {
        let [terminate, interrupt, hang_up] = &mut signals.0;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                _ = hang_up.recv() => true,
                // One turn of the runtime is what it takes to notice.
                () = tokio::time::sleep(Duration::from_millis(1)) => false,
            }
        })
    }

    fn once(&self, call: &Call<'_>) -> Result<Response<Incoming>, Failure> {
        let request = self.request(call)?;
        let answered = self
            .runtime
            .block_on(async { timeout(call.wait + self.time, self.inner.request(request)).await });
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(why)) => Err(self.unreachable(&causes(&why))),
            Err(_) => Err(self.unreachable("it does not answer in time")),
        }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, Failure> {
        let body = call.body.as_ref().map(Value::to_string);
        let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = self.base.uri(call.path)?;
        let host = request
            .uri()
            .authority()
            .map(|host| host.as_str().to_owned());
        let headers = request.headers_mut();
        let agent = concat!("mayfly/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(&host).ok()) {
            headers.insert(HOST, host);
        }
        if let Some(secret) = call.secret {
            headers.insert(AUTHORIZATION, secret.bearer()?);
        }
        if call.body.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        if let Some(id) = call.last_event_id {
            let id = HeaderValue::from_str(id)
                .map_err(|_| Failure::usage("the id of an event has characters that none has"))?;
            headers.insert(HeaderName::from_static("last-event-id"), id);
        }
        Ok(request)
    }

    /// What a refusal means to the person who asked.
    fn problem(&self, response: Response<Incoming>) -> Result<Failure, Failure> {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let client = self;
        let body = Stream { client, response }.whole()?;
        let problem = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let text = |name: &str| {
            problem[name]
                .as_str()
                .map(|text| harmless::line(text).into_owned())
        };
        let (Some(code), Some(detail)) = (text("code"), text("detail")) else {
            return Ok(self.no_mayfly(&format!(
                "the answer is {status}, and not as mayfly words one"
            )));
        };
        Ok(explained(status, &code, detail, text("field"), retry_after))
    }

    fn unreachable(&self, why: &str) -> Failure {
        let what = format!("cannot reach {}", self.base);
        Failure::new(Exit::Failure, "unreachable", what)
            .because(why)
            .fix(self.help)
    }

    pub(super) fn no_mayfly(&self, why: &str) -> Failure {
        let what = format!(
            "what answers at {} is no mayfly, or something is between",
            self.base
        );
        Failure::new(Exit::Failure, "not-mayfly", what)
            .because(why)
            .fix("check the URL: it must be the one of the listener, or of the proxy before it")
    }
}

impl Stream<'_> {
    /// The next piece, `None` at the end. It may take so long.
    pub(super) fn next(&mut self, time: Duration) -> Result<Option<Bytes>, Failure> {
        loop {
            let client = self.client;
            let frame = client
                .runtime
                .block_on(async { timeout(time, self.response.body_mut().frame()).await });
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    // What is no data are trailers, which nobody needs.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Ok(Some(Err(why))) => return Err(client.unreachable(&causes(&why))),
                Err(_) => return Err(client.unreachable("it stopped amid its answer")),
            }
        }
    }

    /// Hands on what comes, to the end.
    pub(super) fn each(
        mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let time = self.client.time;
        while let Some(bytes) = self.next(time)? {
            take(&bytes)?;
        }
        Ok(())
    }

    fn whole(self) -> Result<Vec<u8>, Failure> {
        let too_large = self
            .client
            .no_mayfly("the answer is larger than any of mayfly's");
        let mut whole = Vec::new();
        self.each(|bytes| {
            if whole.len() + bytes.len() > ANSWER_BYTES_MAX {
                return Err(too_large.clone());
            }
            whole.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(whole)
    }
}

/// How long to wait before the same is asked again; `None` if that is no use, or longer than is `left`.
fn pause(status: StatusCode, headers: &HeaderMap, left: Duration) -> Option<Duration> {
    let asks_for_patience = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status);
    let asked = retry_after(headers).filter(|_| asks_for_patience)?;
    // Who asks for no time at all is not asked again at once.
    let pause = asked.max(Duration::from_millis(100));
    (pause <= left).then_some(pause)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). A date, or nonsense, is some seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().unwrap_or_default();
    Some(
        text.trim()
            .parse()
            .map_or(RETRY_UNSAID, Duration::from_secs),
    )
}

/// What is at the bottom of an error. hyper's own words for what is around it add nothing.
fn causes(why: &dyn std::error::Error) -> String {
    let mut cause = why;
    while let Some(next) = cause.source() {
        cause = next;
    }
    harmless::line(&cause.to_string()).into_owned()
}

/// The problems of the API (docs/api.md), for a person.
fn explained(
    status: StatusCode,
    code: &str,
    detail: String,
    field: Option<String>,
    retry_after: Option<Duration>,
) -> Failure {
    let exit = match status {
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNAUTHORIZED => Exit::Usage,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, code, detail);
    let failure = match (field, retry_after) {
        (Some(field), _) => failure.because(format!("the field is {field:?}")),
        (None, Some(time)) => {
            failure.because(format!("the server asks to wait {} s", time.as_secs()))
        }
        (None, None) => failure,
    };
    match code {
        "no-such-mailbox" => failure
            .because("its time is up, it was erased, its token was replaced, or the server was started anew")
            .fix("mayfly mailbox new"),
        "no-such-message" | "no-such-part" => failure.fix("mayfly mailbox list shows what there is"),
        "no-token" => failure.fix("give the mailbox's token: MAYFLY_TOKEN, or --token-file"),
        "taken" => failure.fix("choose another --name, or leave it out"),
        "wrong-key" => failure.fix("check MAYFLY_KEY, or unset it"),
        "too-many-requests" | "too-many-creations" => {
            failure.fix("wait, ask less often, or show a key of the operator's (MAYFLY_KEY) when creating")
        }
        "too-many-watchers" => failure.fix("end another `mayfly mailbox watch` or `wait` of this mailbox"),
        "encrypted" => failure.fix("mayfly mailbox read --raw | age --decrypt -i KEYFILE"),
        "unreadable" => failure.fix("mayfly mailbox read --raw"),
        _ => failure,
    }
}

fn without_authorities() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?;
    Ok(config
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_a_url_without_a_secret() {
        for (text, base) in [
            ("http://127.0.0.1:8025", "http://127.0.0.1:8025"),
            ("http://[::1]:8025/", "http://[::1]:8025"),
            (
                "https://mail.example.com/mayfly/",
                "https://mail.example.com/mayfly",
            ),
        ] {
            assert_eq!(Base::parse(text).expect(text).to_string(), base);
        }
        for text in [
            "",
            "localhost:8025",
            "ftp://a",
            "http://",
            "http://user:secret@a",
            "http://a/?q",
            "http://a b",
        ] {
            let why = Base::parse(text).expect_err(text);
            assert_eq!(why.exit, Exit::Usage, "{text}");
            assert!(why.fix.is_some());
            assert!(!why.to_string().contains("secret"), "{why}");
        }
    }

    #[test]
    fn patience_has_a_bound() {
        let answer = |value: &'static str| {
            HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))])
        };
        let secs = Duration::from_secs;
        let table = [
            (429, answer("3"), 10, Some(secs(3))),
            (503, answer("1"), 1, Some(secs(1))),
            (429, answer("0"), 1, Some(Duration::from_millis(100))),
            (429, answer("11"), 10, None),
            (
                429,
                answer("Wed, 21 Oct 2026 07:28:00 GMT"),
                10,
                Some(RETRY_UNSAID),
            ),
            (429, HeaderMap::new(), 10, None),
            (404, answer("1"), 10, None),
        ];
        for (status, headers, left, expected) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                pause(status, &headers, secs(left)),
                expected,
                "{status} {headers:?}"
            );
        }
    }

    #[test]
    fn problems_get_a_code_to_exit_with_and_a_way_out() {
        let table = [
            (404, "no-such-mailbox", Exit::NotFound, true),
            (404, "no-such-part", Exit::NotFound, true),
            (409, "taken", Exit::Failure, true),
            (401, "wrong-key", Exit::Usage, true),
            (422, "bad-field", Exit::Usage, false),
            (429, "too-many-requests", Exit::Failure, true),
            (503, "busy", Exit::Failure, false),
        ];
        for (status, code, exit, has_fix) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = explained(status, code, "So it is.".to_owned(), None, None);
            assert_eq!(
                (failure.exit, failure.fix.is_some()),
                (exit, has_fix),
                "{code}"
            );
            assert_eq!(failure.what, "So it is.");
        }
    }
}

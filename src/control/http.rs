//! Connections: accepted, bounded, timed, ended.
//!
//! hyper's own server is used, not axum's, because only there the limits on heads, buffers and time
//! can be set.

use super::answer::answer;
use super::app::{App, Side};
use super::forwarded::{client_of, is_trusted};
use super::framing::HeadLimits;
use super::rate::Client;
use super::wire::Wire;
use super::{Phase, api, operator};
use crate::metrics::process::HttpRefused;
use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The most fields in the head of a request.
const FIELDS_MAX: usize = 64;

/// The most connections on the operator's side.
const OPERATOR_CONNECTIONS_MAX: u64 = 256;

/// How long accepting pauses when it fails, as it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the last answers may take once everything stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Serves one listener until its side's time is over, then waits for its connections.
pub(super) async fn accept(app: Arc<App>, side: Side, listener: TcpListener) {
    let router = match side {
        Side::Public => api::router(Arc::clone(&app)),
        Side::Operator => operator::router(Arc::clone(&app)),
    };
    let mut over = app.phase.clone();
    let mut over = pin!(over.wait_for(move |phase| *phase >= last_phase(side)));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = &mut over => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match OpenConnection::admit(&app, side, peer) {
                Ok(open) => {
                    let router = router.clone();
                    connections.spawn(serve_connection(open, router, stream));
                }
                // Before a request there is nothing to answer: the connection is closed.
                Err(why) => app.metrics.http_connections_refused.of(why).add_shared(1),
            },
            Err(why) => {
                app.metrics.http_accept_errors.add_shared(1);
                pause_accepting(&why).await;
            }
        }
    }
    drop(listener);
    let last = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(STOP_GRACE, last).await.is_err() {
        tracing::warn!("HTTP connections were cut off while they were being answered");
    }
}

/// The phase in which a side closes.
const fn last_phase(side: Side) -> Phase {
    match side {
        Side::Public => Phase::Draining,
        Side::Operator => Phase::Stopped,
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err() {
        tracing::error!("an HTTP connection ended by a panic");
    }
}

async fn pause_accepting(why: &io::Error) {
    // Whoever went away before we came is no reason to pause.
    if why.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(error = %why, "accepting HTTP connections pauses");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether all clients together may open one more.
fn has_room(app: &App, side: Side) -> bool {
    let public_max = u64::from(app.settings.load().http.connections_max);
    let connections_max = match side {
        Side::Public => public_max,
        // The operator gets in when the public side is full.
        Side::Operator => public_max + OPERATOR_CONNECTIONS_MAX,
    };
    app.metrics.http_connections.value() < connections_max
}

/// Counts a connection for as long as it lives.
struct OpenConnection {
    app: Arc<App>,
    side: Side,
    peer: IpAddr,
    /// Whether it counts for its peer. Those of our reverse proxies do not: many clients share them.
    is_counted: bool,
}

impl OpenConnection {
    /// Lets a client in, or says why not.
    fn admit(app: &Arc<App>, side: Side, peer: SocketAddr) -> Result<Self, HttpRefused> {
        if !has_room(app, side) {
            return Err(HttpRefused::Connections);
        }
        let peer = peer.ip().to_canonical();
        let http = &app.settings.load().http;
        let is_counted = side == Side::Public && !is_trusted(peer, &http.trusted_proxies);
        let limit = http.connections_per_client_max;
        if is_counted && !app.clients.enter(Client::from(peer), limit) {
            return Err(HttpRefused::ClientConnections);
        }
        app.metrics.http_connections.increment_shared();
        Ok(Self {
            app: Arc::clone(app),
            side,
            peer,
            is_counted,
        })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.app.metrics.http_connections.decrement_shared();
        if self.is_counted {
            self.app.clients.leave(Client::from(self.peer));
        }
    }
}

/// Keeps a connection counted that goes on when HTTP ends on it.
#[derive(Clone)]
pub(super) struct Kept(
    #[allow(dead_code, reason = "what counts is when it is dropped")] Arc<OpenConnection>,
);

async fn serve_connection(open: OpenConnection, router: Router, stream: TcpStream) {
    let side = open.side;
    let open = Arc::new(open);
    let kept = Kept(Arc::clone(&open));
    let http = open.app.settings.load().http.clone();
    let head_bytes_max = http.header_bytes_max.as_usize();
    let limits = HeadLimits {
        bytes_max: head_bytes_max,
        fields_max: FIELDS_MAX,
    };
    // A failure only costs a delay of the last segment.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, limits, http.request_timeout.0);
    let gate = wire.gate();
    let app = Arc::clone(&open.app);
    let peer = open.peer;
    let proxies = http.trusted_proxies.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let client = client_of(peer, request.headers(), &proxies);
        request.extensions_mut().insert(kept.clone());
        let gate = Arc::clone(&gate);
        let answer = answer(
            Arc::clone(&app),
            side,
            router.clone(),
            Client::from(client),
            gate.passed(),
            request.map(Body::new),
        );
        async move {
            let answer = answer.await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                gate.open();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs from the end of the last answer, so it bounds idle connections too.
        .header_read_timeout(http.header_timeout.0)
        .max_headers(FIELDS_MAX)
        // hyper asks for 8 KiB at least.
        .max_buf_size(head_bytes_max.max(8 << 10) + (8 << 10))
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut phase = open.app.phase.clone();
    tokio::select! {
        // Why a connection ended is its client's business.
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase >= last_phase(side)) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

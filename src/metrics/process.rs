//! What the process counts beside its cores: the HTTP API, the settings, the process itself.
//!
//! Here several threads may write, so counting is an atomic addition (the methods `..._shared`).

#![forbid(unsafe_code)]

use super::{
    Counter, Cube, Declaration, Family, Gauge, Grid, Histogram, Histograms, Kind, Label, LabelSet,
    Latency, Levels, Metric, Moments, Reading, Seconds, Stay,
};

labels! {
    /// Which part of the HTTP interface was asked for.
    Route as "route" {
        About = "about",
        Assets = "assets",
        Attachment = "attachment",
        Challenges = "challenges",
        Events = "events",
        Frame = "frame",
        GuerrillaMail = "guerrilla_mail",
        Headers = "headers",
        Health = "health",
        Html = "html",
        Inbucket = "inbucket",
        Mailbox = "mailbox",
        Mailboxes = "mailboxes",
        MailTm = "mail_tm",
        Mcp = "mcp",
        Message = "message",
        Messages = "messages",
        Metrics = "metrics",
        OneSecMail = "one_sec_mail",
        Postmaster = "postmaster",
        Raw = "raw",
        Recover = "recover",
        Root = "root",
        Status = "status",
        Text = "text",
        Unknown = "unknown",
        View = "view",
        Webhook = "webhook",
    }

    /// The method of an HTTP request.
    Method as "method" {
        Delete = "delete",
        Get = "get",
        Head = "head",
        Options = "options",
        Patch = "patch",
        Post = "post",
        Put = "put",
        Other = "other",
    }

    /// Why an HTTP connection was closed unanswered.
    HttpRefused as "reason" {
        ClientConnections = "client_connections",
        Connections = "connections",
    }

    /// Why a mailbox was not created.
    CreationRefused as "reason" {
        Key = "key",
        Mailboxes = "mailboxes",
        Proof = "proof",
        Rate = "rate",
    }

    /// How a call to a webhook ended.
    WebhookResult as "result" {
        Busy = "busy",
        Connect = "connect",
        Delivered = "delivered",
        Forbidden = "forbidden",
        Gone = "gone",
        Name = "name",
        Protocol = "protocol",
        Status = "status",
        Timeout = "timeout",
        Tls = "tls",
    }

    /// Why a delivery to a webhook was dropped.
    WebhookDropped as "reason" {
        Attempts = "attempts",
        Forbidden = "forbidden",
        Gone = "gone",
        Off = "off",
        Queue = "queue",
        UrlQueue = "url_queue",
        Urls = "urls",
        Vanished = "vanished",
    }

    /// The state of the breaker of a webhook's URL.
    UrlState as "state" {
        Closed = "closed",
        HalfOpen = "half_open",
        Open = "open",
    }

    /// The state that a breaker had before.
    BreakerFrom as "from" {
        Closed = "closed",
        HalfOpen = "half_open",
        Open = "open",
    }

    /// The state that a breaker has now.
    BreakerTo as "to" {
        Closed = "closed",
        HalfOpen = "half_open",
        Open = "open",
    }

    /// What came of reading the settings again.
    Reload as "result" {
        Failed = "failed",
        Succeeded = "succeeded",
    }

    /// The status of an HTTP answer.
    Status as "code" {
        S200 = "200",
        S201 = "201",
        S204 = "204",
        S304 = "304",
        S400 = "400",
        S401 = "401",
        S403 = "403",
        S404 = "404",
        S405 = "405",
        S408 = "408",
        S409 = "409",
        S413 = "413",
        S415 = "415",
        S422 = "422",
        S429 = "429",
        S431 = "431",
        S500 = "500",
        S503 = "503",
        S505 = "505",
        Other = "other",
    }

    /// A certificate, by its place in the settings.
    Certificate as "name" {
        C0 = "0",
        C1 = "1",
        C2 = "2",
        C3 = "3",
        C4 = "4",
        C5 = "5",
        C6 = "6",
        C7 = "7",
        C8 = "8",
        C9 = "9",
        C10 = "10",
        C11 = "11",
        C12 = "12",
        C13 = "13",
        C14 = "14",
        C15 = "15",
    }
}

impl Certificate {
    /// The certificates that are shown, in the order of the settings. Later ones are not.
    pub const ALL: [Self; 16] = [
        Self::C0,
        Self::C1,
        Self::C2,
        Self::C3,
        Self::C4,
        Self::C5,
        Self::C6,
        Self::C7,
        Self::C8,
        Self::C9,
        Self::C10,
        Self::C11,
        Self::C12,
        Self::C13,
        Self::C14,
        Self::C15,
    ];
}

impl Status {
    /// The label of a status code.
    #[must_use]
    pub const fn of(code: u16) -> Self {
        match code {
            200 => Self::S200,
            201 => Self::S201,
            204 => Self::S204,
            304 => Self::S304,
            400 => Self::S400,
            401 => Self::S401,
            403 => Self::S403,
            404 => Self::S404,
            405 => Self::S405,
            408 => Self::S408,
            409 => Self::S409,
            413 => Self::S413,
            415 => Self::S415,
            422 => Self::S422,
            429 => Self::S429,
            431 => Self::S431,
            500 => Self::S500,
            503 => Self::S503,
            505 => Self::S505,
            _ => Self::Other,
        }
    }
}

/// The version of mayfly.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this was built from, as far as `build.rs` knew it; else `unknown`.
pub const COMMIT: &str = env!("MAYFLY_COMMIT");

/// The version of the compiler that built this.
pub const RUSTC: &str = env!("MAYFLY_RUSTC");

/// The fact that this version runs: always 1.
#[derive(Debug, Default)]
pub struct Build;

impl Metric for Build {
    const KIND: Kind = Kind::Gauge;
    const LABELS: &'static [LabelSet] = &[
        ("version", &[VERSION]),
        ("commit", &[COMMIT]),
        ("rustc", &[RUSTC]),
    ];

    fn read(&self, each: &mut dyn FnMut(&[&'static str], Reading<'_>)) {
        each(&[VERSION, COMMIT, RUSTC], Reading::Gauge(1));
    }
}

metrics! {
    /// What the process counts beside its cores. Any thread may write.
    pub struct ProcessMetrics;
    /// The running version, the commit that it was built from and the compiler; the value is always 1.
    build_info as "mayfly_build_info": Build,
    /// When mayfly became ready to serve, in seconds since 1970.
    start_time as "mayfly_start_time_seconds": Gauge,
    /// Whether the last attempt to load the settings succeeded (1) or left the former ones in place (0).
    config_reloaded as "mayfly_config_last_reload_successful": Gauge,
    /// Attempts to load the settings again, by what came of them.
    config_reloads as "mayfly_config_reloads_total": Family<Reload>,
    /// When the settings in use were loaded, in seconds since 1970.
    config_reloaded_at as "mayfly_config_last_reload_success_timestamp_seconds": Gauge,
    /// When a certificate expires, in seconds since 1970, by its place in the settings. Of more than 16 only the first are shown.
    certificate_expiry as "mayfly_tls_certificate_expiry_timestamp_seconds": Moments<Certificate>,
    /// The level of pressure: 0 normal, 1 strained, 2 overloaded, 3 refusing.
    pressure_level as "mayfly_pressure_level": Gauge,
    /// SMTP connections that may be open at once.
    smtp_connections_limit as "mayfly_smtp_connections_limit": Gauge,
    /// Times that a listener's queue of new connections was full, for all listeners in this network namespace, mayfly's or not, as the kernel counts.
    listen_overflows as "mayfly_listen_overflows_total": Counter,
    /// Bytes of the memory budget in use or reserved.
    store_bytes as "mayfly_store_bytes": Gauge,
    /// The memory budget for mail.
    store_bytes_limit as "mayfly_store_bytes_limit": Gauge,
    /// HTTP requests answered, by part of the interface, method and status.
    http_requests as "mayfly_http_requests_total": Cube<Route, Method, Status>,
    /// Time from the head of an HTTP request to the head of its answer, by part of the interface; calls that wait for mail and
    /// event streams are left out.
    http_request_duration as "mayfly_http_request_duration_seconds": Histograms<Route, Latency>,
    /// HTTP connections open now.
    http_connections as "mayfly_http_connections": Gauge,
    /// HTTP connections closed unanswered because too many were open, of all clients or of this one.
    http_connections_refused as "mayfly_http_connections_refused_total": Family<HttpRefused>,
    /// Failed accepts on the HTTP listeners.
    http_accept_errors as "mayfly_http_accept_errors_total": Counter,
    /// Event streams open now.
    http_event_streams as "mayfly_http_event_streams": Gauge,
    /// HTTP requests answered with 429 because their client sent too many.
    http_rate_limited as "mayfly_http_rate_limited_total": Counter,
    /// Creations of mailboxes that were refused, by why: a wrong key, as many mailboxes as the plan allows, no proof of work or a
    /// wrong one, too many creations in the last minute.
    http_creations_refused as "mayfly_http_creations_refused_total": Family<CreationRefused>,
    /// Calls to webhooks, by how they ended: with a status other than 2xx, because no connection could be made, because the name leads nowhere
    /// or to an address that may not be called. busy: none was made, since no turn to look up the name came free or a core did not
    /// answer; it is made up for and counts as no try.
    webhook_attempts as "mayfly_webhook_attempts_total": Family<WebhookResult>,
    /// Time that calls to webhooks took.
    webhook_duration as "mayfly_webhook_attempt_duration_seconds": Histogram<Stay>,
    /// Deliveries to webhooks that were dropped, by why: tried as often as allowed, full queues, a URL that may not be called or wants no more,
    /// a message or webhook that is gone, webhooks turned off.
    webhook_dropped as "mayfly_webhook_dropped_total": Family<WebhookDropped>,
    /// Deliveries to webhooks that wait for their turn.
    webhook_waiting as "mayfly_webhook_waiting_deliveries": Gauge,
    /// Calls to webhooks under way.
    webhook_running as "mayfly_webhook_running_attempts": Gauge,
    /// URLs of webhooks for which something waits or which have failed lately, by the state of their breaker.
    webhook_urls as "mayfly_webhook_urls": Levels<UrlState>,
    /// Breakers of webhooks' URLs that went from one state to another.
    webhook_breaker_turns as "mayfly_webhook_breaker_transitions_total": Grid<BreakerFrom, BreakerTo>,
    /// Time that making this page took, for the scrapes before this one.
    scrape_duration as "mayfly_scrape_duration_seconds": Histogram<Latency>,
    /// Memory that the allocator holds from the system: in use by mayfly, or kept for use.
    memory_committed as "mayfly_memory_committed_bytes": Gauge,
    /// Processor time used, user and system.
    cpu as "process_cpu_seconds_total": Seconds,
    /// Resident memory.
    resident_memory as "process_resident_memory_bytes": Gauge,
    /// Address space in use.
    virtual_memory as "process_virtual_memory_bytes": Gauge,
    /// File descriptors open in the table of the main thread; cores with tables of their own are not counted.
    open_fds as "process_open_fds": Gauge,
    /// File descriptors that one table may hold.
    max_fds as "process_max_fds": Gauge,
    /// When the process started, in seconds since 1970.
    process_start_time as "process_start_time_seconds": Gauge,
}

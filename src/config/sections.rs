//! The sections that belong to the outer ring; the deciding rooms declare their own.

#![forbid(unsafe_code)]

use super::listener::MailListener;
use crate::policy::network::Network;
use crate::settings::{Bytes, Span, Value, choices, quoted, settings};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// IPv4 and IPv6 loopback with this port.
fn loopback<T: From<SocketAddr>>(port: u16) -> Vec<T> {
    let addresses: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    addresses.map(T::from).into()
}

settings! {
    /// The process.
    pub struct Server {
        /// The name in the greeting and in trace headers. Should be what the MX record says.
        pub hostname: String = "mayfly.test".to_owned(),
        /// Threads that serve SMTP, each pinned to a CPU. 0 means one for each CPU that this process may use.
        pub cores: u32 = 0,
        /// Whether each core has a table of file descriptors of its own, so that the limit on open files counts for each core.
        pub descriptor_tables: DescriptorTables = DescriptorTables::PerCore,
        /// How long transactions under way may go on after SIGTERM.
        pub shutdown_grace: Span = Span::secs(30),
        /// Receive buffers of each core. Price: 8 KiB each, allocated at start. A power of two.
        pub receive_buffers: u32 = 512,
        /// Requests that one core lets wait from the other cores and from the HTTP API. Beyond that they get 451 or 503.
        pub inbox_max: u32 = 16_384,
        /// Threads that take messages apart before they are accepted, where a domain has a policy for attachments, and that encrypt
        /// them, where a mailbox has a key. Price: one sleeps when there is nothing to do; while it works, up to three times the size of a message.
        /// 64 messages may wait for each; senders beyond that get 451.
        pub helpers: u32 = 1,
        /// How logs are written.
        pub log_format: LogFormat = LogFormat::Text,
        /// The least important log line that is written.
        pub log_level: LogLevel = LogLevel::Info,
        /// Whether logs carry client addresses: a line for each session that ends and each connection that is turned away.
        /// Off, logs carry nothing that identifies anyone.
        pub log_client_addresses: bool = false,
        /// One SMTP session in so many is told in the log step by step: verbs, reply codes, sizes, times, the version of TLS. No argument
        /// of a command, no address, no client. 0: none. Price: some hundred bytes for each session that is told, and its lines.
        pub trace_sessions_one_in: u32 = 0,
        /// Lines for each session that is told; then only its end. Price: the log's.
        pub trace_lines_max: u32 = 100,
        /// Lines about sessions that each core writes in a second; what is beyond that is counted and not written. Price: a line takes a core
        /// some ten microseconds.
        pub trace_lines_per_second_max: u32 = 50,
    }
}

choices! {
    /// Descriptor tables.
    pub enum DescriptorTables {
        /// One for each core, where the kernel allows it.
        PerCore = "per-core",
        /// One for the process.
        Shared = "shared",
    }
}

choices! {
    /// How logs are written.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// For systemd's journal, each field on its own. Where there is no journal they go to standard error as text.
        Journald = "journald",
        /// For machines.
        Json = "json",
    }
}

choices! {
    /// Importance of log lines.
    pub enum LogLevel {
        /// What failed.
        Error = "error",
        /// What may fail.
        Warn = "warn",
        /// What happened.
        Info = "info",
        /// What is needed to find a fault.
        Debug = "debug",
    }
}

settings! {
    /// Where mayfly listens. Port 0 takes any free port and says which.
    pub struct Listen {
        /// SMTP with STARTTLS. An element is an address with port, or a table with options for that listener alone:
        /// { address = "0.0.0.0:25", without = ["CHUNKING"], proxy_from = ["10.0.0.0/8"], xclient_from = ["127.0.0.1"] }.
        /// `without` names extensions that are not offered there: 8BITMIME, BINARYMIME, CHUNKING, LIMITS, PIPELINING, REQUIRETLS, SIZE, SMTPUTF8, STARTTLS.
        /// `proxy_from` names the networks of proxies (HAProxy and others). Then every connection must come from there and begin with
        /// a PROXY header, version 1 or 2, and the client address in it is the one that every limit, log line and trace header goes by.
        /// `xclient_from` names the networks of clients that may speak for others with XCLIENT. Meant for tests.
        pub smtp: Vec<MailListener> = loopback(2525),
        /// SMTP inside TLS from the first byte (RFC 8314 section 3.3). Its elements are like those of `smtp`.
        pub smtps: Vec<MailListener> = loopback(2465),
        /// The HTTP API.
        pub http: Vec<SocketAddr> = loopback(8025),
        /// The operator's listener: metrics, health, postmaster's mail. Never open it to strangers.
        pub operator: Vec<SocketAddr> = loopback(9925),
        /// Connections that may wait to be accepted on each SMTP listener. The kernel lowers it to net.core.somaxconn.
        pub backlog: u32 = 10_000,
        /// How long a PROXY header may take to arrive on a listener with `proxy_from`.
        pub proxy_timeout: Span = Span::secs(5),
    }
}

settings! {
    /// TLS on the SMTP listeners.
    pub struct Tls {
        /// Whether STARTTLS is offered on `listen.smtp`.
        pub starttls: bool = true,
        /// Handshakes that one core runs at a time; others wait their turn, and the handshake timeout runs.
        pub handshakes_max: u32 = 64,
        /// How long a handshake may take.
        pub handshake_timeout: Span = Span::secs(30),
        /// Whether sessions may be resumed with stateless tickets.
        pub tickets: bool = true,
        /// Certificates. With several, the client's SNI chooses; the first is for all other clients.
        /// Without any, one is made and signed by mayfly itself at every start.
        pub certificates: Vec<Certificate> = Vec::new(),
    }
}

/// One certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file with the certificate and its chain, the server's own first.
    pub chain: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

impl Value for Certificate {
    fn kind() -> String {
        "tables with `chain` and `key`, paths of PEM files".to_owned()
    }

    fn toml(&self) -> Option<String> {
        let [chain, key] = [&self.chain, &self.key].map(|path| quoted(&path.to_string_lossy()));
        Some(format!("{{ chain = {chain}, key = {key} }}"))
    }
}

settings! {
    /// The HTTP API.
    pub struct Http {
        /// Requests a minute and client address (/64 for IPv6), by sliding window. Health checks and open event streams do not count. 0 means no limit.
        pub requests_per_minute: u32 = 100,
        /// Mailboxes that one client address (/64 for IPv6) may create in a minute, by sliding window; whoever shows a key has what
        /// its plan says instead. 0 means no limit.
        pub creations_per_minute: u32 = 20,
        /// Work that a client must show before it creates a mailbox, unless it shows a key: a number with which SHA-256 begins with so
        /// many zero bits. Each bit doubles the time: 16 take a fraction of a second, 20 some seconds in a browser. 0 turns it off.
        pub proof_of_work_bits: u32 = 0,
        /// Proofs of work that are remembered until they are out of date (five minutes), so that each counts once.
        /// Price: 4 bytes each, taken as they come. With twice as many in that time one right proof in eight is refused.
        pub proofs_max: u32 = 100_000,
        /// Client addresses whose requests and creations are counted. Price: 128 bytes each. Beyond that the ones unseen for longest are forgotten.
        pub rate_clients_max: u32 = 65_536,
        /// Connections open at once; more are closed unanswered.
        pub connections_max: u32 = 10_000,
        /// Connections to the public listeners open at once from one client address (/64 for IPv6); more are closed unanswered. 0 means no limit.
        /// Behind a reverse proxy all connections come from the proxy's address: set it to 0 there, or as high as connections_max.
        pub connections_per_client_max: u32 = 100,
        /// Networks of reverse proxies. The client of a request that comes from there is the last address in its `X-Forwarded-For` fields
        /// that is not itself in one of these networks; requests_per_minute goes by it. Their connections are exempt from connections_per_client_max.
        pub trusted_proxies: Vec<Network> = Vec::new(),
        /// The longest a request's head may take to arrive.
        pub header_timeout: Span = Span::secs(10),
        /// The largest head of a request.
        pub header_bytes_max: Bytes = Bytes::kib(16),
        /// The largest body of a request.
        pub body_bytes_max: Bytes = Bytes::kib(16),
        /// The longest a request may take, waiting calls and event streams excepted.
        pub request_timeout: Span = Span::secs(30),
        /// The longest that a call may wait for mail.
        pub wait_max: Span = Span::secs(60),
        /// How often an idle event stream says that it lives.
        pub heartbeat: Span = Span::secs(15),
        /// Events that may wait for one slow reader of an event stream; then it is dropped.
        pub stream_events_max: u32 = 64,
        /// Messages on one page of a list at most.
        pub page_messages_max: u32 = 100,
    }
}

settings! {
    /// APIs of other services that answer beside ours, on the public listeners, at the paths that their clients use. docs/compatibility.md
    /// says what is the same and what is not. All are off unless you turn them on; none keeps anything of its own.
    pub struct Compatibility {
        /// Whether the API of mail.tm and mail.gw is there: `/domains`, `/accounts`, `/token`, `/me`, `/messages`, `/sources` and
        /// `/.well-known/mercure`. Accounts have passwords; whoever wants a mailbox shows no more than for one of ours.
        pub mail_tm: bool = false,
        /// How long a token that `/token` gives is good. It ends with its account if that is earlier.
        pub mail_tm_token_time: Span = Span::secs(24 * 3600),
        /// Memory that the hash of one password takes (Argon2id), while it is computed. More makes guessing dearer for whoever has
        /// stolen the process's memory. Price: for each of `passwords_at_once`.
        pub password_memory: Bytes = Bytes::mib(19),
        /// Passes over that memory. Price: processor time, about 15 ms each at 19 MiB.
        pub password_passes: u32 = 2,
        /// Passwords that are hashed at the same time. Price: a thread and `password_memory` each.
        pub passwords_at_once: u32 = 2,
        /// Requests that may wait for their password to be hashed. Beyond that they get 503. Price: one open request each.
        pub passwords_waiting_max: u32 = 64,
        /// How `verifications` of a message is written: mail.tm's clients take any, some of mail.gw's take only a list.
        pub mail_tm_verifications: Verifications = Verifications::Object,
        /// Whether the API of GuerrillaMail is there: `/ajax.php` and `/inbox`. A session holds its addresses, so nobody else reads them.
        pub guerrilla_mail: bool = false,
        /// How long a session of GuerrillaMail may be idle. It is sealed, not kept: with each answer a new one begins.
        pub guerrilla_session_idle: Span = Span::secs(18 * 60),
        /// Whether the REST API of Inbucket is there: `/api/v1/mailbox/{name}`, `/serve/mailbox/` and the monitors. It knows no secret and
        /// shows only mailboxes of `recipients.public_domains`, to everybody.
        pub inbucket: bool = false,
        /// Monitors of Inbucket, which are web sockets, open at once. Price: a connection each, up to 64 KiB of messages under way.
        pub inbucket_monitors_max: u32 = 64,
        /// Events that may wait for the slowest monitor, which is sent away when there are more; as many may wait to be written down.
        /// Price: an event of all monitors together is held once, about 1 KiB.
        pub inbucket_monitor_events_max: u32 = 256,
        /// How often a monitor is asked whether it lives. One that has not answered when it is asked again is gone.
        pub inbucket_ping: Span = Span::secs(54),
        /// Whether the API of 1secmail is there: `/api/v1/?action=...`. It knows no secret and shows only mailboxes of
        /// `recipients.public_domains`, to everybody.
        pub one_sec_mail: bool = false,
    }
}

choices! {
    /// How `verifications` of a message is written.
    pub enum Verifications {
        /// An object with `tls`, `spf` and `dkim`, as mail.tm has it.
        Object = "object",
        /// An empty list, as mail.gw has it.
        List = "list",
    }
}

settings! {
    /// Mailboxes for agents: the Model Context Protocol at `/mcp` on `listen.http`.
    pub struct Mcp {
        /// Whether the endpoint is there.
        pub enabled: bool = false,
        /// The names by which clients may call it, without ports: what stands in `Host`. A page that has its own name lead to this machine is
        /// refused by this.
        pub hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into(),
    }
}

//! The second dashboard: why is it not well? Sessions, cores, memory, TLS, HTTP and the process, in detail.

use super::board::{Board, Item, heatmap, lines, stacked, stat, table};

pub const DETAILS: Board = Board {
    uid: "mayfly-details",
    title: "mayfly: details",
    about: "Why mayfly is not well: sessions, cores (utilisation, saturation, errors), mailboxes, TLS, HTTP, the process. Choose one gateway above.",
    by_core: true,
    items: ITEMS,
};

const ITEMS: &[Item] = &[
    Item::Row("Which one"),
    table(
        "Builds",
        "none",
        &[("sum by (instance, version, commit, rustc) (mayfly_build_info{@})", "{{instance}}")],
        "Version, commit and compiler of each gateway. Two versions longer than a rollout takes: one was forgotten.",
    )
    .wide(9)
    .tall(5),
    stat(
        "Up for",
        "s",
        &[("time() - mayfly_start_time_seconds{@}", "{{instance}}")],
        "Since when it serves. A restart loses all mail that was held.",
    ),
    stat(
        "Settings loaded",
        "dateTimeFromNow",
        &[("mayfly_config_last_reload_success_timestamp_seconds{@} * 1000", "{{instance}}")],
        "When the settings in force were read.",
    ),
    stat(
        "Last reload",
        "bool_yes_no",
        &[("min by (instance) (mayfly_config_last_reload_successful{@})", "{{instance}}")],
        "No: the last reload failed and the former settings are in force. The log says which line is wrong.",
    )
    .steps("red", &[(1.0, "green")]),
    table(
        "Certificates",
        "s",
        &[("mayfly_tls_certificate_expiry_timestamp_seconds{@} - time()", "{{name}}")],
        "Time until each certificate ends, by its place in the settings. Red: less than a week, or it has ended.",
    )
    .wide(6)
    .tall(5)
    .steps("red", &[(604_800.0, "orange"), (1_814_400.0, "green")]),
    Item::Row("Sessions"),
    stacked(
        "Ended, by how",
        "suffix: /s",
        &[("sum by (how) (rate(mayfly_smtp_sessions_ended_total{@}[$r]))", "{{how}}")],
        "How sessions end. A rise of lost or timeout with the same mail accepted: a scanner, or a network that loses packets.",
    ),
    stacked(
        "Not ended by QUIT, by stage",
        "suffix: /s",
        &[("sum by (stage) (rate(mayfly_smtp_sessions_ended_total{@,how!=\"quit\"}[$r]))", "{{stage}}")],
        "Where sessions break off. data and storing cost senders a message; connected and tls are mostly scanners.",
    ),
    lines(
        "Session, transaction, data: p95",
        "s",
        &[
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_smtp_session_duration_seconds_bucket{@}[$r])))", "session"),
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_smtp_transaction_duration_seconds_bucket{@}[$r])))", "transaction"),
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_smtp_data_duration_seconds_bucket{@}[$r])))", "data"),
        ],
        "How long clients take. Mostly their network; compare with the time from end of data to reply, which is ours.",
    ),
    stacked(
        "Commands",
        "suffix: /s",
        &[("sum by (command) (rate(mayfly_smtp_commands_total{@}[$r]))", "{{command}}")],
        "Commands read. Many more rcpt than mail: guessing. Much noop, rset, vrfy: somebody plays.",
    ),
    stacked(
        "Replies, by code",
        "suffix: /s",
        &[("sum by (code) (rate(mayfly_smtp_replies_total{@}[$r])) > 0", "{{code}}")],
        "Replies by their code. 421 and 45x are ours to explain.",
    ),
    stacked(
        "Offences",
        "suffix: /s",
        &[("sum by (offence) (rate(mayfly_smtp_protocol_offences_total{@}[$r]))", "{{offence}}")],
        "What clients did wrong. bare_newline and pipelined_behind_starttls are attacks or very old software.",
    ),
    stacked(
        "Refused, by stage and reason",
        "suffix: /s",
        &[("sum by (stage, reason) (rate(mayfly_messages_rejected_total{@}[$r])) > 0", "{{stage}}: {{reason}}")],
        "Messages refused, by where in their transaction. memory and try_later are counted against the error budget.",
    ),
    stacked(
        "Clients that had too much",
        "suffix: /s",
        &[("sum by (limit) (rate(mayfly_client_limits_hit_total{@}[$r]))", "{{limit}}")],
        "Refusals because one client had had its share of the last minute, by what it had too much of.",
    ),
    lines(
        "Odd ends",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_smtp_transactions_aborted_total{@}[$r]))", "transactions given up"),
            ("sum(rate(mayfly_messages_unconfirmed_total{@}[$r]))", "stored, 250 not sent"),
            ("sum(rate(mayfly_smtp_health_checks_total{@}[$r]))", "proxies' health checks"),
            ("sum(rate(mayfly_smtp_accept_errors_total{@}[$r]))", "failed accepts"),
        ],
        "Transactions without a message, messages that will come twice, and connections that could not be taken.",
    ),
    Item::Row("Cores: utilisation, saturation, errors"),
    lines(
        "Busy",
        "percentunit",
        &[("sum by (instance, core) (rate(mayfly_core_busy_seconds_total{@,core=~\"$core\"}[$r]))", "{{instance}} core {{core}}")],
        "Share of the time that a core's loop was at work. One much higher than the others: a few mailboxes get most of the mail.",
    )
    .steps("green", &[(0.9, "red")]),
    lines(
        "Processor time",
        "percentunit",
        &[("sum by (instance, core) (rate(mayfly_core_cpu_seconds_total{@,core=~\"$core\"}[$r]))", "{{instance}} core {{core}}")],
        "Processor time of a core's thread, the kernel's work for it included. Busy without processor time: somebody else has the machine.",
    ),
    lines(
        "Waiting for a processor",
        "percentunit",
        &[("sum by (instance, core) (rate(mayfly_core_run_delay_seconds_total{@,core=~\"$core\"}[$r]))", "{{instance}} core {{core}}")],
        "Share of the time that a core's thread could have run and had no processor. Should be near 0: give mayfly processors of its own.",
    ),
    heatmap(
        "Turns of the loop",
        "s",
        &[("sum by (le) (increase(mayfly_core_loop_turn_duration_seconds_bucket{@}[$r]))", "{{le}}")],
        "How long turns took. Everything on a core waits for the longest; above 0.1 s is a stall.",
    ),
    lines(
        "Late",
        "s",
        &[
            ("histogram_quantile(0.99, sum by (le) (rate(mayfly_core_loop_turn_duration_seconds_bucket{@}[$r])))", "turn, p99"),
            ("histogram_quantile(0.99, sum by (le) (rate(mayfly_core_loop_lag_seconds_bucket{@}[$r])))", "woken late, p99"),
        ],
        "How long a turn takes, and how much later than asked a sleeping core wakes up.",
    ),
    lines(
        "Stalls",
        "suffix: /s",
        &[("sum by (instance, core) (rate(mayfly_core_loop_stalls_total{@,core=~\"$core\"}[$r]))", "{{instance}} core {{core}}")],
        "Turns of a tenth of a second or more. Swapping, a machine that sleeps, or too little processor.",
    ),
    lines(
        "Connections, by core",
        "none",
        &[
            ("sum by (instance, core) (mayfly_smtp_connections{@,core=~\"$core\"})", "{{instance}} core {{core}}, open"),
            ("sum by (instance, core) (mayfly_core_tasks{@,core=~\"$core\"})", "{{instance}} core {{core}}, places in the ring"),
        ],
        "How the kernel deals connections out over the cores. Places without an open connection are being closed.",
    ),
    lines(
        "Inboxes",
        "none",
        &[("sum by (instance, core) (mayfly_inbox_waiting_requests{@,core=~\"$core\"})", "{{instance}} core {{core}}, waiting")],
        "Requests of other cores and of HTTP that wait. Not near 0: the core is behind.",
    ),
    lines(
        "Inboxes, traffic",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_inbox_requests_total{@}[$r]))", "requests"),
            ("sum(rate(mayfly_inbox_full_total{@}[$r]))", "refused: full"),
            ("sum(rate(mayfly_core_receive_buffers_exhausted_total{@}[$r]))", "receive buffers ran dry"),
        ],
        "Requests between cores; those that a full inbox refused (451, HTTP 503); and how often receive buffers ran out.",
    ),
    Item::Row("Memory and the process"),
    lines(
        "Memory",
        "bytes",
        &[
            ("sum by (instance) (process_resident_memory_bytes{@})", "{{instance}} resident"),
            ("sum by (instance) (mayfly_memory_committed_bytes{@})", "{{instance}} held by the allocator"),
            ("sum by (instance) (mayfly_store_bytes{@})", "{{instance}} mail"),
        ],
        "Mail is a part of what the allocator holds, and that a part of what is resident. Resident without mail: memory not yet handed back.",
    ),
    lines(
        "Descriptors",
        "none",
        &[
            ("sum by (instance) (process_open_fds{@})", "{{instance}} open, main thread"),
            ("max by (instance) (process_max_fds{@})", "{{instance}} limit of one table"),
        ],
        "Descriptors of the main thread and the limit, which holds for each core by itself.",
    ),
    lines(
        "The kernel's queues",
        "suffix: /s",
        &[
            ("sum by (instance) (rate(mayfly_listen_overflows_total{@}[$r]))", "{{instance}} overflows"),
            ("sum by (reason) (rate(mayfly_smtp_accept_errors_total{@}[$r]))", "failed accepts: {{reason}}"),
        ],
        "Connections that the kernel dropped because a listener's queue was full: raise net.core.somaxconn and listen.backlog.",
    ),
    Item::Row("Mailboxes"),
    lines(
        "Mailboxes, by core",
        "none",
        &[("sum by (instance, core) (mayfly_store_mailboxes{@,core=~\"$core\"})", "{{instance}} core {{core}}")],
        "Mailboxes on each core. They are dealt out by a keyed hash, so the lines lie close together.",
    ),
    lines(
        "Copies, by core",
        "none",
        &[("sum by (instance, core) (mayfly_store_messages{@,core=~\"$core\"})", "{{instance}} core {{core}}")],
        "Copies of messages on each core. One line far above: a mailbox that gets very much.",
    ),
    stacked(
        "Mailboxes that came and went",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_store_mailboxes_created_total{@}[$r]))", "created"),
            ("sum(rate(mayfly_store_mailboxes_expired_total{@}[$r]))", "expired"),
            ("sum(rate(mayfly_store_mailboxes_erased_total{@}[$r]))", "erased"),
            ("sum(rate(mayfly_store_mailboxes_used_up_total{@}[$r]))", "used up"),
            ("sum(rate(mayfly_store_mailboxes_recovered_total{@}[$r]))", "recovered"),
        ],
        "Mailboxes given to a holder, and how they ended.",
    ),
    lines(
        "Copies in and out",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_store_delivered_total{@}[$r]))", "delivered"),
            ("sum(rate(mayfly_store_gone_total{@}[$r]))", "gone"),
            ("sum(rate(mayfly_store_late_total{@}[$r]))", "came too late"),
        ],
        "Copies put into mailboxes and copies that went. delivered above gone for long: memory fills up.",
    ),
    lines(
        "Expiry is late by",
        "s",
        &[
            ("histogram_quantile(0.5, sum by (le) (rate(mayfly_store_expiry_lag_seconds_bucket{@}[$r])))", "p50"),
            ("histogram_quantile(0.99, sum by (le) (rate(mayfly_store_expiry_lag_seconds_bucket{@}[$r])))", "p99"),
        ],
        "How long after its time memory comes back (nobody sees the mail meanwhile). The promise is one second.",
    )
    .steps("green", &[(1.0, "red")]),
    lines(
        "Addresses and watchers",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_store_quarantine_refused_total{@}[$r]))", "address still rests"),
            ("sum(rate(mayfly_store_quarantine_cut_short_total{@}[$r]))", "came free early"),
            ("sum(rate(mayfly_store_watchers_dropped_total{@}[$r]))", "slow watchers dropped"),
        ],
        "Addresses that rest after their end, and event streams that did not keep up. Came free early: raise store.quarantine_addresses_max.",
    ),
    Item::Row("TLS"),
    stacked(
        "Handshakes",
        "suffix: /s",
        &[("sum by (result, version) (rate(mayfly_tls_handshakes_total{@}[$r])) > 0", "{{result}} {{version}}")],
        "Handshakes by how they ended and the version. failed is mostly scanners; a jump after a new certificate is that certificate.",
    ),
    lines(
        "Resumed",
        "percentunit",
        &[(
            "sum(rate(mayfly_tls_handshakes_total{@,result=\"resumed\"}[$r])) / sum(rate(mayfly_tls_handshakes_total{@,result=~\"full|resumed\"}[$r]))",
            "resumed",
        )],
        "Share of handshakes that were shortened by a ticket. They cost a fraction of a full one.",
    ),
    lines(
        "Time for a handshake",
        "s",
        &[
            ("histogram_quantile(0.5, sum by (le) (rate(mayfly_tls_handshake_duration_seconds_bucket{@}[$r])))", "p50"),
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_tls_handshake_duration_seconds_bucket{@}[$r])))", "p95"),
        ],
        "The client's network included.",
    ),
    Item::Row("HTTP"),
    stacked(
        "Requests, by route",
        "suffix: /s",
        &[("sum by (route) (rate(mayfly_http_requests_total{@}[$r]))", "{{route}}")],
        "Which parts of the interface are used. unknown: somebody looks for other software.",
    ),
    stacked(
        "Requests, by method",
        "suffix: /s",
        &[("sum by (method) (rate(mayfly_http_requests_total{@}[$r]))", "{{method}}")],
        "Reading is get; making and changing is post, patch, put and delete.",
    ),
    heatmap(
        "Time to answer",
        "s",
        &[("sum by (le) (increase(mayfly_http_request_duration_seconds_bucket{@}[$r]))", "{{le}}")],
        "Time from the head of a request to the head of its answer, over all routes.",
    ),
    lines(
        "Refused",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_http_rate_limited_total{@}[$r]))", "429: too many requests"),
            ("sum by (reason) (rate(mayfly_http_creations_refused_total{@}[$r]))", "no mailbox: {{reason}}"),
            ("sum by (reason) (rate(mayfly_http_connections_refused_total{@}[$r]))", "no connection: {{reason}}"),
            ("sum(rate(mayfly_http_accept_errors_total{@}[$r]))", "failed accepts"),
        ],
        "What HTTP clients did not get, and why.",
    ),
    lines(
        "Scrapes",
        "s",
        &[
            ("sum by (instance) (rate(mayfly_scrape_duration_seconds_sum{@}[$r])) / sum by (instance) (rate(mayfly_scrape_duration_seconds_count{@}[$r]))", "{{instance}} to make the page"),
            ("scrape_duration_seconds{@}", "{{instance}} as Prometheus saw it"),
        ],
        "What watching costs. The page is made by the control plane; the cores do not notice.",
    ),
    lines(
        "Series",
        "none",
        &[("scrape_samples_scraped{@}", "{{instance}}")],
        "Numbers on the page. Flat after the first hours: no label is made of what a stranger sends.",
    ),
    Item::Row("Webhooks and other doors"),
    stacked(
        "Calls to webhooks",
        "suffix: /s",
        &[("sum by (result) (rate(mayfly_webhook_attempts_total{@}[$r]))", "{{result}}")],
        "How calls to webhooks ended. status: the receiver did not say 2xx. busy, connect, name, timeout, tls of many at a time: our own way out.",
    ),
    lines(
        "Time for a call",
        "s",
        &[
            ("histogram_quantile(0.5, sum by (le) (rate(mayfly_webhook_attempt_duration_seconds_bucket{@}[$r])))", "p50"),
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_webhook_attempt_duration_seconds_bucket{@}[$r])))", "p95"),
        ],
        "Time that calls to webhooks took, failed ones included.",
    ),
    lines(
        "Deliveries that wait",
        "none",
        &[
            ("sum(mayfly_webhook_waiting_deliveries{@})", "waiting"),
            ("sum(mayfly_webhook_running_attempts{@})", "under way"),
        ],
        "Deliveries to webhooks in the queue, and those that are being tried. Growing: receivers are slower than mail comes.",
    ),
    lines(
        "Deliveries that were dropped",
        "suffix: /s",
        &[
            ("sum by (reason) (rate(mayfly_webhook_dropped_total{@}[$r]))", "{{reason}}"),
            ("sum(rate(mayfly_webhook_notices_lost_total{@}[$r]))", "never queued"),
        ],
        "What receivers did not hear of. queue, urls, never queued: our own bounds; the rest lies with receivers and holders.",
    ),
    lines(
        "Receivers, by breaker",
        "none",
        &[("sum by (state) (mayfly_webhook_urls{@})", "{{state}}")],
        "URLs with something to do. open: it failed so often that it is left alone for a while.",
    ),
    stacked(
        "Other doors",
        "suffix: /s",
        &[(
            "sum by (route) (rate(mayfly_http_requests_total{route=~\"guerrilla_mail|inbucket|mail_tm|mcp|one_sec_mail|webhook\",@}[$r]))",
            "{{route}}",
        )],
        "Requests to the drop-in interfaces, to the one for agents, and about webhooks. Each is part of *Requests, by route*.",
    ),
];

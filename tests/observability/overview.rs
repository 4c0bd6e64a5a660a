//! The first dashboard: is it well? One screen for all gateways.

use super::board::{Board, Item, gauge, heatmap, lines, stacked, stat, states, table};

pub const OVERVIEW: Board = Board {
    uid: "mayfly-overview",
    title: "mayfly: overview",
    about: "Whether mayfly is well: what it takes, what it refuses, how fast it answers, how full it is. The other dashboard says why.",
    by_core: false,
    items: ITEMS,
};

const ITEMS: &[Item] = &[
    Item::Row("In short"),
    stat(
        "Gateways up",
        "percentunit",
        &[("sum(up{@}) / count(up{@})", "up")],
        "Share of the gateways that answered the last scrape. Below 1 one is gone: look at the alert MayflyDown.",
    )
    .steps("red", &[(1.0, "green")]),
    stat(
        "Mail accepted",
        "suffix: /s",
        &[("sum(rate(mayfly_messages_accepted_total{@}[$r]))", "accepted")],
        "Messages answered with 250 after their data, in a second.",
    ),
    gauge(
        "Connections, of limit",
        "percentunit",
        &[(
            "sum(mayfly_smtp_connections{@}) / sum(mayfly_smtp_connections_limit{@} > 0)",
            "open",
        )],
        "Open SMTP connections as a share of admission.connections_max. At 1 new clients get 421.",
    )
    .steps("green", &[(0.7, "orange"), (0.9, "red")]),
    gauge(
        "Mail memory, of limit",
        "percentunit",
        &[(
            "sum(mayfly_store_bytes{@}) / sum(mayfly_store_bytes_limit{@})",
            "used",
        )],
        "Bytes of the budget for mail in use or reserved. At 1 new mail is deferred with 452; what is stored stays.",
    )
    .steps("green", &[(0.7, "orange"), (0.9, "red")]),
    stat(
        "Deferred",
        "percentunit",
        &[(
            "sum(rate(mayfly_smtp_replies_total{@,code=~\"4..\"}[$r])) / sum(rate(mayfly_smtp_replies_total{@}[$r]))",
            "4yz",
        )],
        "Share of replies that say: try later. Some is normal where clients are limited; much of it is pressure.",
    )
    .steps("green", &[(0.05, "orange"), (0.2, "red")]),
    stat(
        "Refused for good",
        "percentunit",
        &[(
            "sum(rate(mayfly_smtp_replies_total{@,code=~\"5..\"}[$r])) / sum(rate(mayfly_smtp_replies_total{@}[$r]))",
            "5yz",
        )],
        "Share of replies that say no. Mostly mail for addresses that do not exist; not a fault of the server.",
    ),
    stat(
        "End of data to reply, p99",
        "s",
        &[(
            "histogram_quantile(0.99, sum by (le) (rate(mayfly_smtp_data_ack_duration_seconds_bucket{@}[$r])))",
            "p99",
        )],
        "Of a hundred messages, ninety-nine are answered this fast after their last byte. This is what a sender feels.",
    )
    .steps("green", &[(0.1, "orange"), (1.0, "red")]),
    stat(
        "Error budget left",
        "percentunit",
        &[(
            "1 - max(mayfly:slo_errors:ratio_rate30d{job=~\"$job\"}) / 0.001",
            "of 30 days",
        )],
        "What is left of the one message in a thousand that may be deferred in 30 days for a reason of ours. Below 0 the promise is broken.",
    )
    .steps("red", &[(0.0, "orange"), (0.25, "green")]),
    Item::Row("Mail"),
    stacked(
        "Messages, by what became of them",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_messages_accepted_total{@}[$r]))", "accepted"),
            (
                "sum by (reason) (rate(mayfly_messages_rejected_total{@}[$r])) > 0",
                "refused: {{reason}}",
            ),
            (
                "sum(rate(mayfly_smtp_transactions_aborted_total{@}[$r]))",
                "given up by the client",
            ),
        ],
        "Messages accepted, refused by reason, and transactions that ended before their message was complete.",
    ),
    stacked(
        "Recipients, by what became of them",
        "suffix: /s",
        &[(
            "sum by (result) (rate(mayfly_message_recipients_total{@}[$r]))",
            "{{result}}",
        )],
        "Much no_such_mailbox: somebody guesses names. mailbox_full: holders do not read. busy, memory: no room, and counted against the error budget. try_later: a client has had its share.",
    ),
    stacked(
        "Replies, by class",
        "suffix: /s",
        &[
            ("sum(rate(mayfly_smtp_replies_total{@,code=~\"2..\"}[$r]))", "2yz done"),
            ("sum(rate(mayfly_smtp_replies_total{@,code=~\"3..\"}[$r]))", "3yz go on"),
            ("sum(rate(mayfly_smtp_replies_total{@,code=~\"4..\"}[$r]))", "4yz later"),
            ("sum(rate(mayfly_smtp_replies_total{@,code=~\"5..\"}[$r]))", "5yz no"),
        ],
        "SMTP replies in a second, by the first digit of their code.",
    ),
    lines(
        "End of data to reply",
        "s",
        &[
            ("histogram_quantile(0.5, sum by (le) (rate(mayfly_smtp_data_ack_duration_seconds_bucket{@}[$r])))", "p50"),
            ("histogram_quantile(0.95, sum by (le) (rate(mayfly_smtp_data_ack_duration_seconds_bucket{@}[$r])))", "p95"),
            ("histogram_quantile(0.99, sum by (le) (rate(mayfly_smtp_data_ack_duration_seconds_bucket{@}[$r])))", "p99"),
        ],
        "Time from the end of data to the reply. p50 low and p99 high: a few turns of a core's loop are long.",
    ),
    heatmap(
        "End of data to reply, all of it",
        "s",
        &[("sum by (le) (increase(mayfly_smtp_data_ack_duration_seconds_bucket{@}[$r]))", "{{le}}")],
        "The same as a picture: the darker, the more messages took so long. Two bands are two kinds of work.",
    ),
    heatmap(
        "Sizes of messages",
        "bytes",
        &[("sum by (le) (increase(mayfly_message_size_bytes_bucket{@}[$r]))", "{{le}}")],
        "Sizes of accepted messages. Memory goes where the large ones are.",
    ),
    Item::Row("Connections"),
    stacked(
        "New connections",
        "suffix: /s",
        &[("sum by (listener) (rate(mayfly_smtp_connections_total{@}[$r]))", "{{listener}}")],
        "Connections that were let in, by kind of listener.",
    ),
    stacked(
        "Turned away",
        "suffix: /s",
        &[("sum by (reason) (rate(mayfly_smtp_connections_refused_total{@}[$r]))", "{{reason}}")],
        "Connections that got no session. client_...: one client wants too much. connections, memory, pressure, rate: the server has had enough.",
    ),
    stacked(
        "Sessions that ended",
        "suffix: /s",
        &[("sum by (how) (rate(mayfly_smtp_sessions_ended_total{@}[$r]))", "{{how}}")],
        "quit is how it should be. lost: the client went away. timeout: it said nothing. panic must never be seen.",
    ),
    lines(
        "Open connections",
        "none",
        &[
            ("sum by (instance) (mayfly_smtp_connections{@})", "{{instance}}"),
            ("sum(mayfly_smtp_connections_limit{@} > 0)", "limit of all"),
        ],
        "SMTP connections that are open now, for each gateway.",
    ),
    states(
        "Pressure",
        "none",
        &[("max by (instance) (mayfly_pressure_level{@})", "{{instance}}")],
        "normal: all limits as set. strained: idle clients have less time, each client half of its limits. overloaded: little time, a tenth, and large messages wait. refusing: no new clients besides.",
    )
    .steps("green", &[(1.0, "yellow"), (2.0, "orange"), (3.0, "red")]),
    table(
        "Alerts that fire",
        "none",
        &[(
            "sum by (alertname, severity, instance) (ALERTS{alertname=~\"Mayfly.*\",alertstate=\"firing\"})",
            "{{alertname}}",
        )],
        "MayflyWatchdog always fires: it shows that alerts are evaluated at all. For any other see docs/runbooks.md.",
    ),
    Item::Row("Mailboxes"),
    lines(
        "Memory for mail",
        "bytes",
        &[
            ("sum(mayfly_store_bytes{@})", "in use or reserved"),
            ("sum(mayfly_store_bytes_limit{@})", "limit"),
            ("sum(process_resident_memory_bytes{@})", "resident, the whole process"),
        ],
        "The budget for mail, what is used of it, and what the process takes of the machine.",
    ),
    lines(
        "Held now",
        "none",
        &[
            ("sum(mayfly_store_messages{@})", "copies of messages"),
            ("sum(mayfly_store_mailboxes{@})", "mailboxes"),
        ],
        "Mailboxes that exist, and copies of messages in them.",
    ),
    stacked(
        "Copies that went",
        "suffix: /s",
        &[("sum by (reason) (rate(mayfly_store_gone_total{@}[$r]))", "{{reason}}")],
        "expired: their time was up. deleted: their holder wished it. evicted: newer mail took their place.",
    ),
    Item::Row("HTTP"),
    stacked(
        "Requests",
        "suffix: /s",
        &[("sum by (code) (rate(mayfly_http_requests_total{@}[$r]))", "{{code}}")],
        "Answers of the API and the web page by status. 5xx are ours; 429 went to clients that sent too many.",
    ),
    lines(
        "Time to answer, p99",
        "s",
        &[(
            "histogram_quantile(0.99, sum by (le, route) (rate(mayfly_http_request_duration_seconds_bucket{@}[$r])))",
            "{{route}}",
        )],
        "Ninety-nine of a hundred requests are answered this fast, by part of the interface. Calls that wait for mail are left out.",
    ),
    lines(
        "Who is watching",
        "none",
        &[
            ("sum(mayfly_http_event_streams{@})", "event streams"),
            ("sum(mayfly_http_connections{@})", "HTTP connections"),
        ],
        "Open HTTP connections, and those among them on which events are pushed.",
    ),
];

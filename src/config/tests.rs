//! What operators see: mistakes explained, values with their origin, the manual equal to the code.

#![forbid(unsafe_code)]

use super::*;
use crate::settings::Span;
use std::path::{Path, PathBuf};

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Effective, ConfigErrors> {
    let source = Source {
        name: "mayfly.toml",
        text,
    };
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(source), environment)
}

/// What is said about a file with mistakes.
fn said(text: &str) -> String {
    load(text, &[]).expect_err("has mistakes").to_string()
}

fn said_of_variable(name: &str, value: &str) -> String {
    load("", &[(name, value)])
        .expect_err("has mistakes")
        .to_string()
}

/// Compares with a file of the repository; with `MAYFLY_REWRITE=1` in the environment writes it anew.
fn is_printed(path: &str, printed: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MAYFLY_REWRITE").is_some() {
        std::fs::create_dir_all(file.parent().expect("has a folder")).expect("can be made");
        std::fs::write(&file, printed).expect("can be written");
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == printed,
        "{path} is not what the code prints; run `MAYFLY_REWRITE=1 cargo test --no-default-features stored_manual`"
    );
}

#[test]
fn an_unknown_key_is_shown_with_caret_guess_and_what_is_allowed() {
    let text = "# A comment.\n[admission]\nconections_max = 5\n";
    assert_eq!(
        said(text),
        "\
error: unknown key `conections_max` in [admission]
  --> mayfly.toml:3:1
   |
 3 | conections_max = 5
   | ^^^^^^^^^^^^^^ did you mean `connections_max`?
   = allowed: connections_max, connections_per_client_max, connections_per_second_max"
    );
}

#[test]
fn a_wrong_value_is_shown_with_what_would_be_right() {
    assert_eq!(
        said("[smtp]\nrecipients_max = 200\nmessage_bytes_max = \"lots\"\n"),
        "\
error: wrong value for `message_bytes_max` in [smtp]
  --> mayfly.toml:3:21
   |
 3 | message_bytes_max = \"lots\"
   |                     ^^^^^^ couldn't parse \"lots\" into a ByteSize, cannot parse float from empty string; write a size like \"64 MiB\"
   = allowed: size
   = default: \"25 MiB\""
    );
    let said = said("store.when_mailbox_full = \"drop_oldest\"");
    assert!(said.contains("did you mean \"drop-oldest\"?"), "{said}");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let said = said(
        "[store]\nmemory = true\n[servr]\nx = 1\n[http]\nbodybytes_max = 1\nheartbeat = \"0s\"\n\
                     [recipients]\ndomains = [\"ok.test\", \"-no.test\", \"OK.test\"]\n",
    );
    let heads: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error") || line.contains("-->"))
        .collect();
    assert_eq!(
        heads,
        [
            "error: wrong value for `memory` in [store]",
            "  --> mayfly.toml:2:10",
            "error: unknown section or key `servr` at the top",
            "  --> mayfly.toml:3:2",
            "error: unknown key `bodybytes_max` in [http]",
            "  --> mayfly.toml:6:1",
            "error: unusable value for `heartbeat` in [http]",
            "  --> mayfly.toml:7:13",
            "error: unusable value for `domains` in [recipients]",
            "  --> mayfly.toml:9:23",
            "error: unusable value for `domains` in [recipients]",
            "  --> mayfly.toml:9:35",
        ],
        "{said}"
    );
    assert!(said.contains("did you mean [server]?"), "{said}");
    assert!(
        said.contains("\"-no.test\" is not the name of a domain"),
        "{said}"
    );
}

#[test]
fn what_is_not_toml_is_shown_where_it_stops_being_toml() {
    let unclosed = said("[server]\nhostname = \"mx.test\ncores = 1\n");
    assert!(
        unclosed.starts_with("error: this is not TOML\n  --> mayfly.toml:2:"),
        "{unclosed}"
    );
    let twice = said("[server]\ncores = 1\ncores = 2\n");
    assert!(
        twice.contains("mayfly.toml:3:1") && twice.contains("duplicate key"),
        "{twice}"
    );
}

#[test]
fn a_key_in_the_wrong_section_is_sent_home() {
    let below = said("[smtp]\nhostname = \"mx.test\"\n");
    assert!(below.contains("this key belongs below [server]"), "{below}");
    let top = said("hostname = \"mx.test\"\n");
    assert!(top.contains("this key belongs below [server]"), "{top}");
    let value = said("server = 5\n");
    assert!(
        value.contains("`server` is a section, not a value"),
        "{value}"
    );
}

#[test]
fn settings_that_do_not_go_together_are_shown_where_the_operator_wrote_one_of_them() {
    assert_eq!(
        said("[store]\nmailbox_ttl_max = \"2m\"\n"),
        "\
error: unusable value for `mailbox_ttl_default` in [store]
  --> mayfly.toml:2:19
   |
 2 | mailbox_ttl_max = \"2m\"
   |                   ^^^^ `mailbox_ttl_default` (1h) is longer than `mailbox_ttl_max` (2m)
   = fix: lower `mailbox_ttl_default` or raise `mailbox_ttl_max`"
    );
}

/// Settings that break a rule each.
const BROKEN: &[&str] = &[
    "attachments.blocked_names = [\"tar.gz\"]\n",
    "attachments.domains = [{ domains = [\"a..b\"], policy = \"cap\" }]\n",
    "recipients.self_authenticating_keys = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n",
    "server.helpers = 0\n",
    "server.hostname = \"a_b\"",
    "server.hostname = \"\"",
    "server.receive_buffers = 100",
    "server.receive_buffers = 8",
    "server.cores = 5000",
    "server.inbox_max = 0",
    "listen.smtp = []\nlisten.smtps = []",
    "listen.http = [\"127.0.0.1:2525\"]",
    "listen.backlog = 0",
    "listen.smtps = [{ address = \"127.0.0.1:2525\" }]",
    "listen.proxy_timeout = \"0s\"",
    "smtp.greeting_delay = \"5m\"",
    "smtp.greeting_teaser = true",
    "tls.handshake_timeout = \"0s\"",
    "tls.handshakes_max = 0",
    "smtp.line_bytes_max = 511",
    "smtp.recipients_max = 99",
    "smtp.message_bytes_max = \"1 GiB\"\nstore.memory = \"512 MiB\"",
    "smtp.reserve_step_bytes = \"1 GiB\"",
    "smtp.command_timeout = \"10ms\"",
    "pressure.memory_percent_refusing = 101",
    "pressure.memory_percent_strained = 90",
    "pressure.loop_lag_overloaded = \"100ms\"",
    "pressure.memory_percent_overloaded = 0\npressure.connections_percent_overloaded = 50",
    "pressure.release_percent = 70\npressure.memory_percent_strained = 0\npressure.connections_percent_strained = 70",
    "pressure.timeout_overloaded = \"0s\"",
    "pressure.errors_max_refusing = 0",
    "pressure.client_percent_strained = 0",
    "pressure.message_bytes_max_overloaded = \"1 KiB\"",
    "clients.ipv4_prefix = 33",
    "clients.ipv6_prefix = 8",
    "clients.clients_max = 0",
    "clients.messages_per_minute_max = 5_000_000",
    "clients.bytes_per_minute_max = \"2 GiB\"",
    "smtp.transaction_timeout = \"0s\"",
    "smtp.tarpit = \"61s\"",
    "smtp.tarpit = \"1s\"\nsmtp.tarpit_after_errors = 20",
    "recipients.domains = []",
    "recipients.domains = [\"bl\u{fc}-.test\"]",
    "recipients.reserved_local_parts = [\"a b\"]",
    "recipients.subaddress_separators = \"+.\"",
    "recipients.domains = [\"a..b\"]",
    "store.mailbox_ttl_default = \"48h\"",
    "store.message_ttl_max = \"0s\"",
    "http.header_bytes_max = \"1 KiB\"",
    "http.page_messages_max = 0",
];

#[test]
fn every_rule_can_be_broken_and_names_a_setting_that_exists() {
    let manual = Config::default().sections();
    for text in BROKEN {
        let said = said(text);
        assert_eq!(said.matches("error: ").count(), 1, "{text}: {said}");
        assert_eq!(
            said.matches("unusable value for").count(),
            1,
            "{text}: {said}"
        );
        assert!(
            said.contains("= fix: ") && said.contains("--> mayfly.toml:"),
            "{text}: {said}"
        );
        let mut names = said.split(['`', '[', ']']).skip(1).step_by(2);
        let (key, section) = (
            names.next().expect("a key"),
            names.next().expect("a section"),
        );
        let known = manual
            .iter()
            .any(|known| known.name == section && known.entry(key).is_some());
        assert!(known, "{text} names [{section}] {key}");
    }
}

#[test]
fn mistakes_in_the_options_of_a_listener_have_a_place() {
    assert_eq!(
        said(
            "[listen]\nsmtp = [\n  \"0.0.0.0:25\",\n  { address = \"10.0.0.1:25\", witout = [] },\n]\n"
        ),
        "\
error: wrong value for `smtp` in [listen]
  --> mayfly.toml:4:30
   |
 4 |   { address = \"10.0.0.1:25\", witout = [] },
   |                              ^^^^^^ unknown field `witout`, expected one of `address`, `without`, `proxy_from`, `xclient_from`
   = allowed: list of address with port, or table with `address` and options
   = default: [\"127.0.0.1:2525\", \"[::1]:2525\"]"
    );
    let base = "listen.smtp = [{ address = \"10.0.0.1:25\"";
    for (list, why) in [
        ("listen.smtp = [\"10.0.0.1\"", "1:16\n"),
        (
            "listen.smtp = [\"10.0.0.1\"",
            "write one like \"0.0.0.0:25\"",
        ),
        ("listen.smtp = [25", "an address with port like"),
        ("listen.smtp = [{ without = [] }", "missing field `address`"),
        (&format!("{base}, without = [\"CHUNKNG\"] }}"), "1:54\n"),
        (&format!("{base}, without = [\"CHUNKNG\"] }}"), "`CHUNKING`"),
        (
            &format!("{base}, proxy_from = [\"10.0.0.1/8\"] }}"),
            "1:57\n",
        ),
        (
            &format!("{base}, proxy_from = [\"10.0.0.1/8\"] }}"),
            "write \"10.0.0.0/8\"",
        ),
        (
            &format!("{base}, xclient_from = \"::1\" }}"),
            "expected a sequence",
        ),
    ] {
        let said = said(&format!("{list}]"));
        assert!(said.contains(why), "{list}: {said}");
    }
}

#[test]
fn the_options_of_a_listener_can_come_from_a_variable_and_are_printed_as_written() {
    let list = "[\"0.0.0.0:25\", { address = \"[::1]:2525\", without = [\"CHUNKING\"], proxy_from = [\"::1\"] }]";
    let effective = load("", &[("MAYFLY__LISTEN__SMTP", list)]).expect("in order");
    let printed = manual::effective_toml(&effective);
    assert!(printed.contains(&format!("smtp = {list}")), "{printed}");
    assert_eq!(
        load(&printed, &[]).expect("reads back").config,
        effective.config
    );
}

#[test]
fn ports_chosen_by_the_kernel_are_never_the_same() {
    let text = "listen.smtp = [\"127.0.0.1:0\"]\nlisten.http = [\"127.0.0.1:0\"]\n";
    assert!(load(text, &[]).is_ok());
}

#[test]
fn variables_win_over_the_file_and_every_value_knows_its_origin() {
    let file = "[server]\nhostname = \"file.test\"\ncores = 3\n\n[smtp]\nrecipients_max = 300\n";
    let variables = [
        ("MAYFLY__SERVER__HOSTNAME", "mx.test"),
        ("MAYFLY__SMTP__MESSAGE_BYTES_MAX", "10 MiB"),
        ("MAYFLY__LISTEN__SMTP", "127.0.0.1:25, [::1]:25"),
        ("MAYFLY__RECIPIENTS__DOMAINS", "[\"a.test\", \"b.test\"]"),
        ("MAYFLY__TLS__STARTTLS", "false"),
        (
            "MAYFLY__TLS__CERTIFICATES",
            "[{ chain = \"c.pem\", key = \"k.pem\" }]",
        ),
        ("MAYFLY_PORT_25_TCP", "not ours"),
    ];
    let effective = load(file, &variables).expect("in order");
    let config = &effective.config;
    assert_eq!(config.server.hostname, "mx.test");
    assert_eq!((config.server.cores, config.smtp.recipients_max), (3, 300));
    assert_eq!(config.smtp.message_bytes_max.0, 10 << 20);
    assert_eq!(config.listen.smtp.len(), 2);
    assert_eq!(config.recipients.domains, ["a.test", "b.test"]);
    assert!(!config.tls.starttls);
    assert_eq!(config.tls.certificates[0].key, PathBuf::from("k.pem"));

    let printed = manual::effective_toml(&effective);
    for (text, origin) in [
        (
            "hostname = \"mx.test\"",
            "environment, MAYFLY__SERVER__HOSTNAME",
        ),
        ("cores = 3", "file, mayfly.toml:3"),
        ("recipients_max = 300", "file, mayfly.toml:6"),
        ("backlog = 10000", "default"),
    ] {
        let line = printed
            .lines()
            .find(|line| line.starts_with(text))
            .expect("is printed");
        assert!(line.ends_with(&format!(" # {origin}")), "{line}");
    }
    assert_eq!(load(&printed, &[]).expect("reads back").config, *config);
}

#[test]
fn names_come_out_in_the_form_in_which_they_are_compared() {
    let text = "server.hostname = \"MX.Test.\"\nrecipients.domains = [\"A.test\", \"b.TEST.\"]\n\
                recipients.reserved_local_parts = [\"Boss\"]\n";
    let config = load(text, &[]).expect("in order").config;
    assert_eq!(config.server.hostname, "mx.test");
    assert_eq!(config.recipients.domains, ["a.test", "b.test"]);
    assert_eq!(config.recipients.reserved_local_parts, ["boss"]);
}

#[test]
fn a_variable_mends_what_is_wrong_in_the_file() {
    let mended = load("server.cores = 5000", &[("MAYFLY__SERVER__CORES", "2")]);
    assert_eq!(mended.expect("in order").config.server.cores, 2);
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    assert_eq!(
        said_of_variable("MAYFLY__SERVER__CORES", "four"),
        "\
error: wrong value for `cores` in [server]
  --> environment variable MAYFLY__SERVER__CORES
   |
   | four
   | ^^^^ invalid type: string \"four\", expected u32
   = allowed: number
   = default: 0"
    );
    let item = said_of_variable("MAYFLY__LISTEN__SMTP", "127.0.0.1:25,nowhere");
    assert!(item.contains("|              ^^^^^^^ "), "{item}");
    assert_eq!(
        said_of_variable("MAYFLY__SERVER__HOST_NAME", "x"),
        "\
error: unknown environment variable MAYFLY__SERVER__HOST_NAME
   = did you mean MAYFLY__SERVER__HOSTNAME?
   = `mayfly config docs` lists all names"
    );
    let broken = said_of_variable("MAYFLY__SMTP__RECIPIENTS_MAX", "5");
    assert!(
        broken.contains("--> environment variable MAYFLY__SMTP__RECIPIENTS_MAX"),
        "{broken}"
    );
}

#[test]
fn certificates_are_tables_and_their_mistakes_have_a_place() {
    let text = "[[tls.certificates]]\nchain = \"a.pem\"\nkey = \"a.key\"\n\
                [[tls.certificates]]\nchain = \"b.pem\"\nkey = \"b.key\"\n";
    let config = load(text, &[]).expect("in order").config;
    assert_eq!(config.tls.certificates.len(), 2);
    let printed = manual::manual_toml(&config);
    assert_eq!(load(&printed, &[]).expect("reads back").config, config);
    let said = said("[[tls.certificates]]\nchian = \"a.pem\"\n");
    assert!(
        said.contains("mayfly.toml:2:1") && said.contains("expected `chain` or `key`"),
        "{said}"
    );
}

#[test]
fn a_reload_knows_what_it_cannot_change() {
    let old = Config::default();
    let new = load(
        "server.cores = 3\nlisten.http = []\ntls.tickets = false\nsmtp.errors_max = 5\n\
         recipients.domains = [\"b.test\"]\ntls.starttls = false\nhttp.rate_clients_max = 5\n",
        &[],
    )
    .expect("in order");
    let waiting = ["server.cores", "listen.http", "http.rate_clients_max"];
    assert_eq!(old.needs_restart(&new.config), waiting);
    assert!(old.needs_restart(&old).is_empty());
    for section in old.sections() {
        if let Restart::Only(keys) = section.restart {
            assert!(
                keys.iter().all(|key| section.entry(key).is_some()),
                "{keys:?}"
            );
        }
    }
}

#[test]
fn the_stored_manual_is_what_the_code_prints() {
    is_printed(
        "config/mayfly.toml",
        &manual::manual_toml(&Config::default()),
    );
    is_printed("docs/configuration.md", &manual::manual_markdown());
}

#[test]
fn every_file_in_config_is_in_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("there is a folder") {
        let path = file.expect("can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).expect("can be read");
            let name = path.to_string_lossy();
            let source = Source {
                name: &name,
                text: &text,
            };
            if let Err(mistakes) = Config::load(Some(source), []) {
                panic!("{mistakes}");
            }
            files += 1;
        }
    }
    assert!(files >= 2, "mayfly.toml and loadtest.toml at least");
}

#[test]
fn the_defaults_are_the_defaults() {
    let printed = manual::manual_toml(&Config::default());
    assert_eq!(
        load(&printed, &[]).expect("in order").config,
        Config::default()
    );
    assert_eq!(
        Config::load(None, []).expect("in order").config,
        Config::default()
    );
}

#[test]
fn nothing_is_kept_longer_than_a_week() {
    let config = |text: &str| load(text, &[]).map(|it| it.config.store.mailbox_ttl_max);
    assert_eq!(
        config("store.mailbox_ttl_max = \"7d\"").expect("a week"),
        Span::secs(7 * 24 * 3600)
    );
    for key in ["mailbox_ttl_max", "message_ttl_max"] {
        let said = said(&format!("store.{key} = \"7d 1s\""));
        assert!(said.contains("longer than 7 days"), "{said}");
        assert!(said.contains("fix: write \"7days\" at most"), "{said}");
    }
    let said = said("[plans]\noffered = [{ name = \"a\", ttl_max = \"8d\" }]");
    assert!(
        said.contains("`ttl_max` of the plan \"a\" is 8days"),
        "{said}"
    );
}

#[test]
fn plans_and_keys_must_go_together() {
    let hash = format!("sha256:{}", "0".repeat(64));
    let fine = format!(
        "recipients.domains = [\"b\u{fc}cher.test\", \"qa.test\"]\n\
         [[plans.offered]]\nname = \"team\"\ndomains = [\"BU\u{308}CHER.test\"]\n\
         [[plans.offered]]\nname = \"anonymous\"\nmailboxes_max = 10\n\
         [[plans.keys]]\nplan = \"team\"\nhash = \"{hash}\"\n"
    );
    let config = load(&fine, &[]).expect("in order").config;
    assert_eq!(config.plans.offered[0].domains, ["xn--bcher-kva.test"]);
    for (offered, keys, expected) in [
        ("{ name = \"\" }", "", "is not the name of a plan"),
        ("{ name = \"a b\" }", "", "is not the name of a plan"),
        ("{ name = \"a\" }, { name = \"a\" }", "", "is named twice"),
        ("{ name = \"a\", ttl_max = \"0s\" }", "", "is 0s"),
        (
            "{ name = \"a\", mailbox_messages_max = 0 }",
            "",
            "no mailbox",
        ),
        ("{ name = \"a\", mailbox_bytes_max = 5 }", "", "no mailbox"),
        (
            "{ name = \"a\", domains = [\"b.test\"] }",
            "",
            "which is not ours",
        ),
        ("{ name = \"a\", ttl = \"1h\" }", "", "unknown field `ttl`"),
        ("{ ttl_max = \"1h\" }", "", "missing field `name`"),
        (
            "{ name = \"a\" }",
            "{ plan = \"b\", file = \"k\" }",
            "there is no plan \"b\"",
        ),
        (
            "{ name = \"a\" }",
            "{ plan = \"a\" }",
            "needs a `hash` or a `file`",
        ),
        (
            "{ name = \"anonymous\" }",
            "{ plan = \"anonymous\", file = \"k\" }",
            "those without a key",
        ),
    ] {
        let said = said(&format!(
            "[plans]\noffered = [{offered}]\nkeys = [{keys}]\n"
        ));
        assert!(said.contains(expected), "{offered} {keys}: {said}");
    }
    let twice = format!("{{ plan = \"a\", hash = \"{hash}\" }}");
    let said = said(&format!(
        "[plans]\noffered = [{{ name = \"a\" }}]\nkeys = [{twice}, {twice}]\n"
    ));
    assert!(said.contains("the same key is named twice"), "{said}");
}

#[test]
fn work_that_nobody_would_do_is_refused() {
    assert!(load("http.proof_of_work_bits = 32", &[]).is_ok());
    let said = said("http.proof_of_work_bits = 33");
    assert!(said.contains("write 32 at most"), "{said}");
}

#[test]
fn what_is_everybodys_must_be_ours_and_is_needed_where_nothing_else_is_shown() {
    let ours = "[recipients]\ndomains = [\"a.test\"]\n";
    let public = |list: &str| format!("{ours}public_domains = [{list}]\n");
    let wrong = said(&public(
        "\"A.Test\", \"b.test\", \"a.test.\", \"*.a.test\", \"-x\"",
    ));
    for words in [
        "\"b.test\" is no domain of ours",
        "the domain \"a.test\" is named twice",
        "\"*.a.test\" is no domain of ours",
        "\"-x\" is not the name of a domain",
    ] {
        assert!(wrong.contains(words), "{words}: {wrong}");
    }
    assert_eq!(wrong.matches("error: ").count(), 4, "{wrong}");
    for api in ["inbucket", "one_sec_mail"] {
        let on = format!("[compatibility]\n{api} = true\n");
        let alone = said(&on);
        assert!(alone.contains("no domain is public"), "{alone}");
        let both = load(&(public("\"A.Test\"") + &on), &[]).expect("fine");
        assert_eq!(both.config.recipients.public_domains, ["a.test"]);
    }
}

//! A running process is told things: to read its settings again, to stop politely, to stop at once.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Events, Gateway, Ports, poll, request};

const GOOD: &str = "[admission]\nconnections_per_client_max = 3\n[clients]\nexempt = []\n";
const TIGHTER: &str = "[admission]\nconnections_per_client_max = 1\n[clients]\nexempt = []\n[smtp]\nmessage_bytes_max = \"1 MiB\"\n";
const BROKEN: &str = "[admission]\nconnections_per_client_max = 2\nconections_max = 7\n";

/// What EHLO says of the largest message.
fn advertised(gateway: &Gateway) -> String {
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    let reply = client.ask("EHLO client.example", "250");
    client.ask("QUIT", "221");
    client.rest();
    let size = reply
        .lines()
        .find_map(|line| line.get(4..)?.strip_prefix("SIZE "));
    size.unwrap_or_else(|| panic!("no SIZE in {reply}"))
        .to_owned()
}

#[test]
fn hang_up_puts_new_limits_in_force_and_a_bad_file_changes_nothing() {
    let mut gateway = Gateway::start(GOOD);
    let reloaded = "mayfly_config_last_reload_successful";
    assert_eq!(gateway.metric(reloaded, ""), 1);
    let mut held = Client::connect(gateway.smtp);
    held.greet();

    gateway.reload(BROKEN);
    gateway.await_metric(reloaded, "", 0);
    gateway.await_metric("mayfly_config_reloads_total", "failed", 1);
    assert_eq!(advertised(&gateway), "26214400");
    poll(|| match gateway.said() {
        said if said.contains("conections_max") && said.contains("connections_max") => Ok(()),
        said => Err(format!(
            "the log names neither the mistake nor what was meant:\n{said}"
        )),
    });

    gateway.reload(TIGHTER);
    gateway.await_metric(reloaded, "", 1);
    gateway.await_metric("mayfly_config_reloads_total", "succeeded", 1);
    assert!(
        Client::connect(gateway.smtp)
            .rest()
            .starts_with("421 4.7.0"),
        "one connection is there already"
    );
    held.ask("QUIT", "221");
    held.rest();
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    assert_eq!(advertised(&gateway), "1048576");
}

#[test]
fn told_to_stop_it_lets_transactions_finish_and_ends_everything_else() {
    let mut gateway = Gateway::start("");
    let (address, token) = gateway.create("last");
    let mut events = Events::open(gateway.http, &token);
    let mut idle = Client::connect(gateway.smtp);
    idle.greet();
    let mut greeted = Client::connect(gateway.smtp);
    greeted.expect("220");
    let mut sending = Client::connect(gateway.smtp);
    sending.greet().begin(&[&address]);
    sending.raw(b"Subject: just in time\r\n");

    gateway.signal("TERM");
    for client in [&mut idle, &mut greeted] {
        let farewell = client.rest();
        assert!(farewell.starts_with("421 4.3.2"), "{farewell}");
    }
    let refused = std::net::TcpStream::connect(gateway.smtp);
    assert!(refused.is_err(), "nobody listens any more");
    sending.raw(b"\r\nmade it\r\n.\r\n");
    sending.expect("250 2.0.0");
    assert!(sending.rest().starts_with("421 4.3.2"));
    assert!(events.all(|event| event.name == "message"), "streams end");
    let status = gateway.wait();
    assert_eq!(status.code(), Some(0), "{}", gateway.last_words());
}

#[test]
fn after_the_grace_time_even_a_transaction_ends_with_a_word() {
    let mut gateway = Gateway::start("[server]\nshutdown_grace = \"100ms\"\n");
    let (address, _) = gateway.create("slow");
    let mut sending = Client::connect(gateway.smtp);
    sending.greet().begin(&[&address]);
    sending.raw(b"Subject: too slow\r\n");
    gateway.signal("TERM");
    assert!(sending.rest().starts_with("421 4.3.2"));
    let status = gateway.wait();
    assert_eq!(status.code(), Some(0), "{}", gateway.last_words());
}

#[test]
fn told_twice_it_stops_at_once() {
    // Longer than this test waits.
    let mut gateway = Gateway::start("[server]\nshutdown_grace = \"10m\"\n");
    let (address, _) = gateway.create("never");
    let mut sending = Client::connect(gateway.smtp);
    sending.greet().begin(&[&address]);
    sending.raw(b"Subject: too late\r\n");
    let mut idle = Client::connect(gateway.smtp);
    idle.greet();
    gateway.signal("TERM");
    idle.expect("421");
    gateway.signal("TERM");
    let status = gateway.wait();
    assert_eq!(status.code(), Some(0), "{}", gateway.last_words());
    assert!(!sending.rest().starts_with("250"), "nothing was accepted");
}

#[test]
fn it_starts_again_at_once_on_the_same_ports_and_never_beside_itself() {
    let mut first = Gateway::start("");
    let (address, _) = first.create("again");
    assert!(
        first
            .deliver(&address, "Subject: x\r\n\r\n")
            .starts_with("250")
    );
    // A connection that is open when it stops keeps its port busy for the kernel.
    let mut left_open = Client::connect(first.smtp);
    left_open.greet();

    for ports in [
        Ports {
            smtp: first.smtp,
            ..Ports::FREE
        },
        Ports {
            smtps: first.smtps,
            ..Ports::FREE
        },
        Ports {
            http: first.http,
            ..Ports::FREE
        },
        Ports {
            operator: first.operator,
            ..Ports::FREE
        },
    ] {
        let said = Gateway::try_start(ports, "", &[])
            .err()
            .expect("somebody listens there");
        let taken = [first.smtp, first.smtps, first.http, first.operator];
        assert!(
            taken
                .iter()
                .any(|address| said.contains(&address.to_string())),
            "{said}"
        );
        assert!(said.contains("fix:"), "{said}");
    }

    assert_eq!(first.stop().code(), Some(0));
    let second = Gateway::start_on(first.ports, "");
    assert_eq!(second.ports, first.ports);
    let (address, token) = second.create("again");
    assert!(
        second
            .deliver(&address, "Subject: y\r\n\r\n")
            .starts_with("250")
    );
    assert_eq!(second.held(&token), 1, "what the first had is gone");
    assert_eq!(
        request(second.operator, "GET", "/healthz", None, "").status,
        200
    );
}

//! The stream of events, by hand.

use super::*;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// An open stream.
struct Hub {
    reader: BufReader<TcpStream>,
    head: String,
    /// What came with the sign that it is open.
    first: Option<String>,
}

/// An event: its id and its data.
type Told = (String, Value);

impl Hub {
    fn open(gateway: &Gateway, query: &str, fields: &[&str]) -> Self {
        let mut stream = TcpStream::connect(gateway.http).expect("connected");
        stream
            .set_read_timeout(Some(gateway::PATIENCE))
            .expect("set");
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let request = format!(
            "GET /.well-known/mercure?{query} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
            gateway.http
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut hub = Self {
            reader: BufReader::new(stream),
            head: String::new(),
            first: None,
        };
        while !hub.head.ends_with("\r\n\r\n") {
            assert_ne!(
                hub.reader.read_line(&mut hub.head).expect("a head"),
                0,
                "{}",
                hub.head
            );
        }
        assert!(hub.head.starts_with("HTTP/1.1 200"), "{}", hub.head);
        assert!(
            hub.head
                .to_lowercase()
                .contains("content-type: text/event-stream\r\n")
        );
        // What it begins with: it is open then.
        hub.first = hub.block();
        assert!(hub.first.is_some());
        hub
    }

    /// Of somebody's account, going on after an event.
    fn of(gateway: &Gateway, somebody: &Somebody, last: Option<&str>) -> Self {
        let authorization = format!("Authorization: Bearer {}", somebody.token);
        let last = last.map(|last| format!("Last-Event-ID: {last}"));
        let mut fields = vec![&*authorization];
        fields.extend(last.as_deref());
        Self::open(
            gateway,
            &format!("topic=/accounts/{}", somebody.id),
            &fields,
        )
    }

    /// What its head says it goes on from.
    fn goes_on_from(&self) -> Option<&str> {
        let line = self
            .head
            .lines()
            .find(|line| line.starts_with("last-event-id: "))?;
        line.strip_prefix("last-event-id: ")
    }

    fn line(&mut self) -> Option<String> {
        // Pieces end where lines end: their sizes are lines too.
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("something in time");
        line.ends_with('\n').then(|| line.trim_end().to_owned())
    }

    /// The lines up to an empty one, without comments; `None` at the end.
    fn block(&mut self) -> Option<String> {
        let size = self
            .line()
            .and_then(|line| usize::from_str_radix(&line, 16).ok());
        let size = size.filter(|size| *size > 0)?;
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes).expect("a whole piece");
        bytes.truncate(size);
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.ends_with("\n\n"), "{text}");
        Some(text.replace(":\n\n", ""))
    }

    /// The events of the next piece that has some.
    fn told(&mut self) -> Vec<Told> {
        loop {
            let text = self.first.take().or_else(|| self.block()).expect("more");
            let blocks = text.split_terminator("\n\n");
            let told: Vec<Told> = blocks.map(event).collect();
            if !told.is_empty() {
                return told;
            }
        }
    }

    /// The ids of so many events, and what their data is.
    fn ids(&mut self, count: usize) -> Vec<(String, String)> {
        let mut ids = Vec::new();
        while ids.len() < count {
            for (id, data) in self.told() {
                let kind = data["@type"].as_str().expect("a text").to_owned();
                ids.push((id, kind));
            }
        }
        ids
    }
}

fn event(block: &str) -> Told {
    let lines: Vec<&str> = block.lines().collect();
    let [id, data] = lines[..] else {
        panic!("not an event of two lines: {block}")
    };
    let id = id.strip_prefix("id: ").expect("an id").to_owned();
    let data = data.strip_prefix("data: ").expect("data");
    (id, serde_json::from_str(data).expect("JSON"))
}

fn named(ids: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
    ids.iter().map(owned).collect()
}

#[test]
fn what_happens_is_told_in_order_with_the_account_behind_it() {
    let gateway = start("");
    let somebody = Somebody::new(&gateway, "somebody");
    let mut hub = Hub::of(&gateway, &somebody, None);
    assert_eq!(hub.goes_on_from(), None);
    somebody.gets(&gateway, "pushed");
    let told = hub.told();
    let [(first, message), (second, account)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((&**first, &**second), ("1", "1.account"));
    assert_eq!(message["@context"], "/contexts/Message");
    assert_eq!(
        (&message["subject"], &message["intro"]),
        (&json!("pushed"), &json!("text"))
    );
    assert_eq!(
        (&message["seen"], &message["isDeleted"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(account["@id"], format!("/accounts/{}", somebody.id));
    assert_eq!(account["used"], message["size"]);
    let id = message["id"].as_str().expect("a text");
    let path = format!("/messages/{id}");
    assert_eq!(somebody.messages(&gateway)[0]["id"], id);
    assert_eq!(
        somebody
            .ask(&gateway, &format!("PATCH {path}"), PLAIN)
            .json(),
        json!({"seen": true})
    );
    let told = hub.told();
    assert_eq!(
        (&*told[0].0, &told[0].1["id"], &told[0].1["seen"]),
        ("2", &json!(id), &json!(true))
    );
    assert_eq!(
        somebody
            .ask(&gateway, &format!("DELETE {path}"), PLAIN)
            .status,
        204
    );
    let told = hub.told();
    assert_eq!(
        (&*told[0].0, &told[0].1["id"], &told[0].1["isDeleted"]),
        ("3", &json!(id), &json!(true))
    );
    assert_eq!((&*told[1].0, &told[1].1["used"]), ("3.account", &json!(0)));
    somebody.ask(
        &gateway,
        &format!("DELETE /accounts/{}", somebody.id),
        PLAIN,
    );
    let told = hub.told();
    assert_eq!(
        (&told[0].1["@type"], &told[0].1["isDeleted"]),
        (&json!("Account"), &json!(true))
    );
    assert_eq!(hub.block(), None, "the stream ends with its account");
}

#[test]
fn whoever_comes_back_goes_on_where_they_were() {
    let gateway = start("");
    let somebody = Somebody::new(&gateway, "somebody");
    for subject in ["one", "two"] {
        somebody.gets(&gateway, subject);
    }
    let newest = somebody.messages(&gateway)[0]["id"].clone();
    let path = format!("PATCH /messages/{}", newest.as_str().expect("a text"));
    somebody.ask(&gateway, &path, PLAIN);
    let rest = named(&[("2", "Message"), ("3", "Message"), ("3.account", "Account")]);
    for (last, wanted) in [
        ("1.account", &rest[..2]),
        (
            "2",
            &named(&[
                ("2.account", "Account"),
                ("3", "Message"),
                ("3.account", "Account"),
            ]),
        ),
        ("2.account", &rest[1..]),
        ("3", &named(&[("3.account", "Account")])),
    ] {
        let mut hub = Hub::of(&gateway, &somebody, Some(last));
        assert_eq!(hub.goes_on_from(), Some(last));
        // A message that was marked comes once, as it is, when it was not known.
        let known = last == "1.account";
        let wanted = if known {
            named(&[("2", "Message"), ("2.account", "Account")])
        } else {
            wanted.to_vec()
        };
        assert_eq!(hub.ids(wanted.len()), wanted, "after {last}");
    }
    let mut hub = Hub::of(&gateway, &somebody, Some("earliest"));
    assert_eq!(hub.goes_on_from(), Some("earliest"));
    let all = named(&[
        ("0.account", "Account"),
        ("1", "Message"),
        ("2", "Message"),
        ("2.account", "Account"),
    ]);
    assert_eq!(hub.ids(4), all);
    for unknown in ["99", "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb"] {
        let hub = Hub::of(&gateway, &somebody, Some(unknown));
        assert_eq!(
            hub.goes_on_from(),
            Some("earliest"),
            "{unknown} is not known"
        );
    }
    let mut hub = Hub::of(&gateway, &somebody, Some("99.account"));
    assert_eq!(
        hub.ids(3),
        named(&[("1", "Message"), ("2", "Message"), ("3.account", "Account")])
    );
}

#[test]
fn tokens_come_in_three_ways_and_topics_in_several() {
    let gateway = start("[http]\nheartbeat = \"1s\"\nconnections_per_client_max = 0\n");
    let somebody = Somebody::new(&gateway, "somebody");
    let Somebody { id, token, .. } = &somebody;
    let authorization = format!("Authorization: Bearer {token}");
    let cookie = format!("Cookie: a=b; mercureAuthorization={token}; c=d");
    let own = format!("topic=%2Faccounts%2F{id}");
    for (query, fields) in [
        (own.clone(), vec![&*authorization]),
        (own.clone(), vec![&*cookie]),
        (format!("{own}&authorization={token}"), vec![]),
        (
            format!("topic=/other&topic=https://api.mail.tm/accounts/{id}"),
            vec![&*authorization],
        ),
        ("topic=*".to_owned(), vec![&*authorization]),
        (
            "topic=/accounts/{id}".replace("{id}", "%7Bid%7D"),
            vec![&*authorization],
        ),
    ] {
        let mut hub = Hub::open(&gateway, &query, &fields);
        assert_eq!(
            hub.block(),
            Some(String::new()),
            "it says that it lives: {query}"
        );
    }
    let since = Hub::open(
        &gateway,
        &format!("{own}&lastEventID=0.account"),
        &[&authorization],
    );
    assert_eq!(since.goes_on_from(), Some("0.account"));
    for (query, status) in [("", 400), ("topic=", 404), ("topic=/messages/x", 404)] {
        let line = format!("GET /.well-known/mercure?{query}");
        assert_eq!(
            somebody.ask(&gateway, &line, PLAIN).status,
            status,
            "{query}"
        );
    }
}

#[test]
fn a_mailbox_has_so_many_watchers_and_the_next_is_told_to_come_back() {
    let gateway = start("[store]\nwatchers_max = 2\n");
    let somebody = Somebody::new(&gateway, "somebody");
    let open = [(); 2].map(|()| Hub::of(&gateway, &somebody, None));
    gateway.await_metric("mayfly_http_event_streams", "", 2);
    let line = format!("GET /.well-known/mercure?topic=/accounts/{}", somebody.id);
    let refused = somebody.ask(&gateway, &line, PLAIN);
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(field(&refused, "retry-after").is_some());
    assert_eq!(
        field(&refused, "content-type"),
        Some("application/json; charset=utf-8")
    );
    drop(open);
    gateway.await_metric("mayfly_http_event_streams", "", 0);
    Hub::of(&gateway, &somebody, None);
}

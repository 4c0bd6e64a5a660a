//! Clients of the HTTP API: each lists what is new in a mailbox and reads every message of it, while mail comes.

use crate::client::Shared;
use crate::failure::Failure;
use crate::http::{self, Answer, Kept};
use crate::payload;
use crate::tally::Measure;
use crate::worker::{Word, Work};
use serde_json::Value;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Messages on a page.
const PAGE: u32 = 20;

/// Creates the mailboxes, says that it is ready, reads until what sends is done, and then all that is left.
pub(crate) async fn run(
    shared: &Rc<Shared>,
    work: &Rc<Work>,
    released: watch::Receiver<bool>,
    say: &dyn Fn(&Word),
) -> Result<(), Failure> {
    let api = shared
        .job
        .api
        .ok_or_else(|| Failure::new("there is no API to read from"))?;
    let load = &shared.job.load;
    let mut readers = Vec::new();
    for mailbox in 0..load.sessions {
        let name = format!("{}-{mailbox}", load.of);
        // Nothing else runs yet: it may be waited for.
        let token = http::create_mailbox(api, &name, &shared.job.domain)?;
        work.tally.borrow_mut().tokens.push(token.clone());
        readers.push(Reader {
            shared: Rc::clone(shared),
            work: Rc::clone(work),
            released: released.clone(),
            token,
            cursor: "0".to_owned(),
            seen: HashSet::new(),
        });
    }
    say(&Word::Held { open: 0 });
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::task::spawn_local(reader.read(api)))
        .collect();
    for task in tasks {
        // One that panicked has said so on standard error; what it did not read is missed.
        let _ = task.await;
    }
    Ok(())
}

/// One client with its mailbox.
struct Reader {
    shared: Rc<Shared>,
    work: Rc<Work>,
    released: watch::Receiver<bool>,
    token: String,
    cursor: String,
    /// The markers of the messages that it has read.
    seen: HashSet<u64>,
}

impl Reader {
    async fn read(mut self, api: SocketAddr) {
        let Ok(mut connection) = Kept::open(api).await else {
            self.work.tally.borrow_mut().fail("connect");
            return;
        };
        let rest = Duration::from_secs_f64(self.shared.job.load.rest_seconds);
        loop {
            // What is in the mailbox when all has been sent is on the pages that are asked for after this.
            let all_is_sent = *self.released.borrow() || Instant::now() >= self.work.deadline;
            match self.page(&mut connection).await {
                Err(what) => {
                    self.work.tally.borrow_mut().fail(&what);
                    return;
                }
                Ok(0) if all_is_sent => return,
                Ok(0) => tokio::time::sleep(rest).await,
                Ok(_) => {}
            }
        }
    }

    /// Lists what is new and reads it; how many messages that were.
    async fn page(&mut self, connection: &mut Kept) -> Result<usize, String> {
        let path = format!("/api/v1/messages?limit={PAGE}&cursor={}", self.cursor);
        let page = self.ask(connection, &path, Measure::List).await?;
        let messages = page["messages"]
            .as_array()
            .ok_or("a page without messages")?;
        for message in messages {
            let id = message["id"].as_str().ok_or("a message without id")?;
            let path = format!("/api/v1/messages/{id}");
            let message = self.ask(connection, &path, Measure::Fetch).await?;
            let subject = message["headers"]["subject"].as_str().unwrap_or_default();
            let marker = payload::markers(subject.as_bytes())
                .next()
                .ok_or("a message that is not ours")?;
            let mut tally = self.work.tally.borrow_mut();
            if self.seen.insert(marker) {
                tally.reads += 1;
            } else {
                tally.reads_doubled += 1;
            }
        }
        page["cursor"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut self.cursor);
        Ok(messages.len())
    }

    async fn ask(
        &self,
        connection: &mut Kept,
        path: &str,
        measure: Measure,
    ) -> Result<Value, String> {
        let began = Instant::now();
        let answer = connection.get(path, &self.token).await;
        let Answer { status, body } = answer.map_err(|error| format!("http: {}", error.kind()))?;
        self.shared.record(measure, began.elapsed());
        if status != 200 {
            return Err(format!("http {status}"));
        }
        serde_json::from_slice(&body).map_err(|_| "an answer is no JSON".to_owned())
    }
}

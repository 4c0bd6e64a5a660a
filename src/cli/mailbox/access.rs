//! Which mailbox is meant, and with which token.

use crate::cli::http::{Base, Call, Client};
use crate::cli::output::tell;
use crate::cli::secret::Secret;
use crate::cli::state::{Place, State};
use crate::cli::{Exit, Failure};
use axum::http::Method;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where a mayfly listens with its defaults.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8025";

/// Which server and which mailbox.
#[derive(Args, Debug)]
pub(crate) struct Connection {
    /// The server; MAYFLY_SERVER, else the one of the mailbox that is kept, else http://127.0.0.1:8025.
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// A file that holds the token of the mailbox and nothing else. MAYFLY_TOKEN may hold it instead; an argument never.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Where the mailbox that was created last is kept.
    #[arg(long, value_name = "FILE", global = true)]
    state: Option<PathBuf>,
    /// Prints JSON, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// A mailbox that can be asked for.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) client: Client,
    pub(super) token: Secret,
    /// What is kept of it, and where, if it is the one that was created last.
    pub(super) kept: Option<(Place, State)>,
}

impl Connection {
    /// The server that was named.
    fn server(&self) -> Result<Option<Base>, Failure> {
        let variable = || {
            std::env::var("MAYFLY_SERVER")
                .ok()
                .filter(|text| !text.is_empty())
        };
        let named = self.server.clone().or_else(variable);
        named.as_deref().map(Base::parse).transpose()
    }

    /// A client of the server that was named, or of one on this machine.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let base = match self.server()? {
            Some(base) => base,
            None => Base::parse(DEFAULT_SERVER)?,
        };
        Client::new(base)
    }

    /// Where the last mailbox is kept.
    pub(super) fn place(&self) -> Option<Place> {
        Place::find(self.state.as_deref())
    }

    /// The mailbox that is meant.
    pub(super) fn mailbox(&self) -> Result<Mailbox, Failure> {
        let given = match &self.token_file {
            Some(path) => Some(Secret::of_file(path)?),
            None => Secret::of_variable("MAYFLY_TOKEN")?,
        };
        let server = self.server()?;
        let place = self.place();
        let kept = match (&place, &given) {
            (Some(place), None) => place.read()?,
            // It is only of use where it can be read.
            (Some(place), Some(_)) => place.read().ok().flatten(),
            (None, _) => None,
        };
        let kept = place.zip(kept);
        match given {
            None => own(kept, server),
            Some(token) => {
                let kept = kept.filter(|(_, state)| state.secret() == token);
                let base = match (server, &kept) {
                    (Some(base), _) => base,
                    (None, Some((_, state))) => state.base()?,
                    (None, None) => Base::parse(DEFAULT_SERVER)?,
                };
                Ok(Mailbox {
                    client: Client::new(base)?,
                    token,
                    kept,
                })
            }
        }
    }
}

/// The mailbox that was created last. Its token goes to its server and to no other.
fn own(kept: Option<(Place, State)>, server: Option<Base>) -> Result<Mailbox, Failure> {
    let Some((place, state)) = kept else {
        return Err(Failure::new(
            Exit::Usage,
            "no-token",
            "it is not known which mailbox is meant",
        )
        .because("none was created here, and no token was given")
        .fix("mayfly mailbox new, or give a token: MAYFLY_TOKEN, or --token-file"));
    };
    let base = state.base()?;
    if let Some(named) = server.filter(|named| *named != base) {
        let what = format!("the mailbox that is kept is not at {named}, but at {base}");
        return Err(Failure::usage(what)
            .because("its token is for that server and goes to no other")
            .fix(format!(
                "--server {base}, or the token of a mailbox there: MAYFLY_TOKEN, or --token-file"
            )));
    }
    Ok(Mailbox {
        client: Client::new(base)?,
        token: state.secret(),
        kept: Some((place, state)),
    })
}

impl Mailbox {
    /// Asks for something of it, as JSON.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.client.json(&Call::get(path, Some(&self.token)))
    }

    /// Notes what was taken out, if it is kept here.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut State)) -> Result<(), Failure> {
        let Some((place, state)) = &mut self.kept else {
            return Ok(());
        };
        note(state);
        place.write(state)
    }
}

/// Deletes a message; or erases the mailbox, and then nothing of it is kept here either.
pub(super) fn delete(connection: &Connection, id: Option<&str>) -> Result<(), Failure> {
    let mailbox = connection.mailbox()?;
    let path = match id {
        Some(id) => {
            let id = super::number(id).map_err(Failure::usage)?;
            format!("/api/v1/messages/{id}")
        }
        None => "/api/v1/mailbox".to_owned(),
    };
    let call = Call::new(Method::DELETE, &path, Some(&mailbox.token));
    let gone = mailbox.client.json(&call).map(|_| ());
    let ended =
        matches!(&gone, Ok(())) || matches!(&gone, Err(why) if why.code == "no-such-mailbox");
    if let (None, true, Some((place, _))) = (id, ended, &mailbox.kept) {
        place.forget()?;
    }
    gone?;
    if connection.json {
        let deleted = json!({ "deleted": id.map_or("mailbox", |_| "message"), "id": id });
        return super::print_data(format!("{deleted}\n").as_bytes());
    }
    match id {
        Some(id) => tell(format_args!("message {id} is deleted")),
        None => tell("the mailbox is erased, with all its mail"),
    }
    Ok(())
}

/// A path as people are told it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

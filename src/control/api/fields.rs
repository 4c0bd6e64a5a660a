//! The body of a request: a JSON object whose fields are taken one by one, so that what is left is what we do not
//! know, and every mistake can be told by its name.

use crate::control::app::{App, json_object};
use crate::control::problem::Problem;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::time::Duration;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

const BAD_TTL: &str =
    "Write whole seconds as a number, or a duration such as \"30m\"; one second at least.";

/// Durations as most people write them: `30m`, `1h 30m`, `2 days`.
const DURATION: &str = "^[1-9][0-9]{0,5} ?(w|weeks?|d|days?|h|hours?|m|min|minutes?|s|sec|seconds?)\
    ( [1-9][0-9]{0,5} ?(w|weeks?|d|days?|h|hours?|m|min|minutes?|s|sec|seconds?)){0,3}$";

/// The fields that were sent and have not been taken yet.
pub(super) struct Fields {
    left: Map<String, Value>,
    /// Those that were asked for.
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads the body; none at all counts as an empty object.
    pub(super) async fn read(app: &App, request: Request<Body>) -> Result<Self, Problem> {
        let types = &["application/json"];
        let left = json_object(app, request, types, "The body must be a JSON object.").await?;
        Ok(Self::new(left))
    }

    const fn new(left: Map<String, Value>) -> Self {
        let known = Vec::new();
        Self { left, known }
    }

    /// Takes a field. `null` is as good as none.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::Field(name, Cow::Borrowed("This must be a text."))),
        }
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Problem::Field(
                name,
                Cow::Borrowed("This must be true or false."),
            )),
        }
    }

    /// A whole number. One that is too large is as good as the largest.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_number().and_then(whole);
        number
            .map(|number| Some(u32::try_from(number).unwrap_or(u32::MAX)))
            .ok_or(Problem::Field(
                name,
                Cow::Borrowed("This must be a whole number."),
            ))
    }

    /// An object of these texts and nothing else.
    pub(super) fn texts<const TEXTS: usize>(
        &mut self,
        name: &'static str,
        texts: [&'static str; TEXTS],
    ) -> Result<Option<[String; TEXTS]>, Problem> {
        let wrong = || {
            let quoted = texts.map(|text| format!("'{text}'")).join(" and ");
            Problem::Field(
                name,
                format!("This must be an object with the texts {quoted}.").into(),
            )
        };
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Object(mut object) = value else {
            return Err(wrong());
        };
        let taken = texts.map(|text| match object.remove(text) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        });
        if !object.is_empty() || taken.iter().any(Option::is_none) {
            return Err(wrong());
        }
        Ok(Some(taken.map(Option::unwrap_or_default)))
    }

    /// A time to live: seconds as a number, or a duration as a text.
    pub(super) fn ttl(&mut self) -> Result<Option<Duration>, Problem> {
        let ttl = match self.take("ttl") {
            None => return Ok(None),
            Some(Value::Number(secs)) => whole(&secs).map(Duration::from_secs),
            Some(Value::String(text)) => humantime::parse_duration(&text).ok(),
            Some(_) => None,
        };
        ttl.filter(|ttl| *ttl >= Duration::from_secs(1))
            .map(Some)
            .ok_or(Problem::Field("ttl", Cow::Borrowed(BAD_TTL)))
    }

    /// Call when all that there can be has been taken.
    pub(super) fn none_left(self) -> Result<(), Problem> {
        let Some((name, _)) = self.left.into_iter().next() else {
            return Ok(());
        };
        let quoted: Vec<String> = self.known.iter().map(|name| format!("'{name}'")).collect();
        let known = match quoted.split_last() {
            Some((only, [])) => format!("The only field here is {only}."),
            Some((last, others)) => {
                format!("The fields here are {} and {last}.", others.join(", "))
            }
            None => "There are no fields here.".to_owned(),
        };
        Err(Problem::UnknownField(plain(name), known))
    }
}

/// A number without a fraction or a sign. JSON does not tell 60 from 60.0, and more than there can be is as good as the most.
fn whole(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        // The conversion saturates.
        (number.fract() == 0.0 && number > 0.0).then_some(number as u64)
    })
}

/// How a time to live is described.
fn ttl() -> OneOfBuilder {
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some("Seconds."))
        .minimum(Some(1));
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A duration, such as `30m`, `1h 30m` or `2 days`."))
        .pattern(Some(DURATION));
    OneOfBuilder::new().item(seconds).item(text)
}

/// A time to live that must be there.
pub(super) fn required_ttl_schema() -> Schema {
    ttl().examples(["30m"]).build().into()
}

/// A time to live that may be missing.
pub(super) fn ttl_schema() -> Schema {
    ttl()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .examples(["30m"])
        .build()
        .into()
}

/// A name that may be repeated in an answer: short and plain, so neither a token nor anything that
/// means something to whoever reads it.
fn plain(name: String) -> Option<String> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (name.len() <= 24 && name.bytes().all(letters)).then_some(name)
}

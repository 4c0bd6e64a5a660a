//! The arguments of a tool, taken one by one, so that what is left is what nobody knows.

use crate::control::problem::Problem;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Duration;

/// The arguments that were sent and have not been taken yet.
pub(super) struct Arguments(pub(super) Map<String, Value>);

impl Arguments {
    /// Takes one. `null` is as good as none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "This must be a text.")),
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let whole = value.as_u64();
        let number = whole.ok_or_else(|| wrong(name, "This must be a whole number."))?;
        Ok(Some(number))
    }

    /// A number of seconds.
    pub(super) fn seconds(&mut self, name: &'static str) -> Result<Option<Duration>, Problem> {
        Ok(self.number(name)?.map(Duration::from_secs))
    }

    /// An id or a cursor: a decimal number as a text, or as a number.
    pub(super) fn id(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(wrong(name, "This must be an id, as it was given.")),
        }
    }

    /// Nothing must be left.
    pub(super) fn none_left(self) -> Result<(), Problem> {
        match self.0.is_empty() {
            true => Ok(()),
            false => {
                let detail = "There are arguments that this tool does not have.".to_owned();
                Err(Problem::UnknownField(None, detail))
            }
        }
    }
}

/// An argument is not what it should be.
pub(super) const fn wrong(name: &'static str, detail: &'static str) -> Problem {
    Problem::Field(name, Cow::Borrowed(detail))
}

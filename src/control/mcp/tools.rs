//! The tools, as agents are told of them.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CreateMailbox,
    WaitForMessage,
    WaitForCode,
    WaitForLink,
    ReadMessage,
    DeleteMailbox,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::CreateMailbox,
        Self::WaitForMessage,
        Self::WaitForCode,
        Self::WaitForLink,
        Self::ReadMessage,
        Self::DeleteMailbox,
    ];

    /// The tool with this name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::CreateMailbox => "create_mailbox",
            Self::WaitForMessage => "wait_for_message",
            Self::WaitForCode => "wait_for_code",
            Self::WaitForLink => "wait_for_link",
            Self::ReadMessage => "read_message",
            Self::DeleteMailbox => "delete_mailbox",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::CreateMailbox => {
                "Create a disposable mailbox. Returns its address and the token that opens it; keep the token for the other tools."
            }
            Self::WaitForMessage => {
                "Wait until a message comes to the mailbox, and return a summary of it. Returns at once if one is there that came after the cursor."
            }
            Self::WaitForCode => {
                "Wait until a message with a one-time code comes to the mailbox, and return the code."
            }
            Self::WaitForLink => {
                "Wait until a message with a verification or sign-in link comes to the mailbox, and return the link. Nothing is opened."
            }
            Self::ReadMessage => {
                "Read one message of the mailbox: sender, subject, text, attachments, codes and links."
            }
            Self::DeleteMailbox => {
                "Erase the mailbox and all its mail, at once. The token is dead from then on."
            }
        }
    }

    fn properties(self) -> Value {
        let mut properties = match self {
            Self::CreateMailbox => json!({
                "local_part": { "type": "string", "minLength": 1, "maxLength": 64, "description": "What stands before the @. Made up unless it is given." },
                "domain": { "type": "string", "minLength": 1, "maxLength": 255, "description": "One of the server's domains. The first of them unless it is given." },
                "ttl_seconds": { "type": "integer", "minimum": 1, "description": "How long the mailbox shall live. Lowered to what the server allows." },
                "messages_max": { "type": "integer", "minimum": 1, "description": "How many messages it shall take in its life; then it goes." },
            }),
            Self::WaitForMessage | Self::WaitForCode | Self::WaitForLink => json!({
                "cursor": { "type": "string", "pattern": "^[0-9]{1,19}$", "description": "Only what came after it: the cursor that a tool returned. From the beginning unless it is given." },
                "timeout_seconds": { "type": "integer", "minimum": 0, "description": "How long to wait. 30 unless it is given; lowered to what the server allows." },
            }),
            Self::ReadMessage => json!({
                "id": { "type": "string", "pattern": "^[0-9]{1,20}$", "description": "The id of the message." },
            }),
            Self::DeleteMailbox => json!({}),
        };
        if self != Self::CreateMailbox {
            properties["token"] = json!({
                "type": "string", "maxLength": 128,
                "description": "The token of the mailbox, from create_mailbox. May be left out if the client sends it as 'Authorization: Bearer <token>'.",
            });
        }
        properties
    }

    /// What a client should know of what it does.
    fn annotations(self) -> ToolAnnotations {
        let reads = matches!(
            self,
            Self::WaitForMessage | Self::WaitForCode | Self::WaitForLink | Self::ReadMessage
        );
        ToolAnnotations::new()
            .read_only(reads)
            .destructive(self == Self::DeleteMailbox)
            .idempotent(reads || self == Self::DeleteMailbox)
            // What is read was written by anybody.
            .open_world(reads)
    }

    fn tool(self) -> Tool {
        let required: &[&str] = match self {
            Self::ReadMessage => &["id"],
            _ => &[],
        };
        let schema = json!({
            "type": "object",
            "properties": self.properties(),
            "required": required,
            "additionalProperties": false,
        });
        let schema: JsonObject = match schema {
            Value::Object(schema) => schema,
            _ => JsonObject::new(),
        };
        Tool::new(self.name(), self.description(), schema).with_annotations(self.annotations())
    }
}

/// All of them.
pub(super) fn all() -> Vec<Tool> {
    Kind::ALL.map(Kind::tool).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_name_a_sentence_and_a_schema() {
        for tool in all() {
            assert!(Kind::of(&tool.name).is_some());
            let sentence = tool.description.as_deref().unwrap_or_default();
            assert!(sentence.ends_with('.'), "{}", tool.name);
            let properties = tool.input_schema["properties"].as_object();
            for (name, property) in properties.expect("an object") {
                assert!(property["description"].is_string(), "{} {name}", tool.name);
            }
        }
        assert_eq!(Kind::of("nothing"), None);
    }
}

//! Pages of the manual as lists of what is to be run and compared.
//!
//! A reader sees commands, programs and answers. What a test must do besides, and a reader would do otherwise, stands in
//! comments that no reader sees: `<!-- test: mailbox -->` makes a new one and sets ADDRESS and TOKEN, `<!-- test: mail
//! FILE -->` sends it a mail of `tests/manual/`, `<!-- test: then mail FILE -->` does so when the program that follows
//! has printed an address, `<!-- test: kept mail FILE -->` sends it to the mailbox that the command line keeps, `<!-- test: set NAME VALUE -->` changes a setting of `[http]` of the server.

/// Something on a page, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A command, with what it prints if that is shown behind it.
    Command { command: String, prints: String },
    /// What a reader does not see: its words.
    Hidden(Vec<String>),
    /// The last answer's body.
    Json(String),
    /// The last answer: status line, fields, body; or some fields only.
    Http(String),
    /// What was printed last, or what a stream says.
    Text(String),
    /// A program in TypeScript.
    TypeScript(String),
}

/// What stands on a page.
pub(crate) fn items(markdown: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = hidden(line) {
            items.push(Item::Hidden(words));
        }
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = block.join("\n");
        match language {
            "console" => items.extend(commands(&block)),
            "sh" => items.extend(script(&block)),
            "http" => items.push(Item::Http(text)),
            "json" => items.push(Item::Json(text)),
            "text" => items.push(Item::Text(text)),
            "ts" => items.push(Item::TypeScript(text)),
            other => panic!("nobody knows how to run {other:?}: all examples are run"),
        }
    }
    items
}

fn hidden(line: &str) -> Option<Vec<String>> {
    let words = line.strip_prefix("<!-- test: ")?.strip_suffix(" -->")?;
    Some(words.split(' ').map(ToOwned::to_owned).collect())
}

/// The commands of a console, each behind a `$`, and what they print.
fn commands(block: &[&str]) -> Vec<Item> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut goes_on = false;
    for line in block {
        if let Some(first) = line.strip_prefix("$ ") {
            found.push((first.to_owned(), String::new()));
            goes_on = first.ends_with(['\\', '|']);
        } else {
            let (command, prints) = found.last_mut().expect("a console begins with a command");
            let to = if goes_on { command } else { prints };
            if !to.is_empty() {
                to.push('\n');
            }
            to.push_str(line);
            goes_on = goes_on && line.ends_with(['\\', '|']);
        }
    }
    let found = found.into_iter();
    found
        .map(|(command, prints)| Item::Command { command, prints })
        .collect()
}

/// The commands of a script, one a line. What the reader is told to copy is taken from the last answer.
fn script(block: &[&str]) -> Vec<Item> {
    let command = |line: &&str| {
        let (name, copied) = line.split_once('=').unwrap_or_default();
        let command = if copied.ends_with("# what your answer says") {
            format!("{name}=$(jq -r .{} \"$KEPT/body\")", name.to_lowercase())
        } else {
            (*line).to_owned()
        };
        let prints = String::new();
        Item::Command { command, prints }
    };
    block.iter().map(command).collect()
}

#[test]
fn pages_are_taken_apart_in_order() {
    let page = "Text\n<!-- test: mail a.eml -->\n```console\n$ a \\\n  b\n$ c\nsaid\n```\n```json\n{}\n```\n\
        ```sh\nX=1   # what your answer says\nd\n```\n";
    let command = |command: &str, prints: &str| Item::Command {
        command: command.to_owned(),
        prints: prints.to_owned(),
    };
    assert_eq!(
        items(page),
        [
            Item::Hidden(vec!["mail".to_owned(), "a.eml".to_owned()]),
            command("a \\\n  b", ""),
            command("c", "said"),
            Item::Json("{}".to_owned()),
            command("X=$(jq -r .x \"$KEPT/body\")", ""),
            command("d", ""),
        ]
    );
}

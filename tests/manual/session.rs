//! A reader at work: a shell, a browser's worth of curl, and Node.js.

use crate::compare;
use crate::gateway::smtp::Client;
use crate::gateway::{Gateway, OPEN_DOORS, PATIENCE, poll, tools};
use crate::page::Item;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What stands before each command. curl keeps what it was answered; one that never ends is left running.
const PRELUDE: &str = r#"
set -o pipefail
curl() {
  case " $* " in
    *" smtp://"*) command curl -sS "$@" ;;
    *" -N "*) command curl -sS "$@" >"$KEPT/stream" 2>/dev/null & echo $! >>"$KEPT/streams" ;;
    *) command curl -sS -D "$KEPT/head" "$@" | tee "$KEPT/body" ;;
  esac
}
set -a
[ ! -e "$KEPT/variables" ] || . "$KEPT/variables"
"#;

/// What stands behind it.
const POSTLUDE: &str = r#"
code=$?
export -p >"$KEPT/variables"
exit "$code"
"#;

const PACKAGE: &str = r#"{"type": "module"}"#;

/// As strict as can be, with the library of browsers, which Node.js has too as far as it is needed here.
const COMPILER: &str = r#"{
  "compilerOptions": {
    "strict": true,
    "exactOptionalPropertyTypes": true,
    "noUncheckedIndexedAccess": true,
    "noUnusedLocals": true,
    "target": "es2022",
    "module": "nodenext",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": []
  },
  "files": ["example.ts"]
}"#;

/// One reader.
pub(crate) struct Session {
    gateway: Gateway,
    /// Where the reader's files are.
    folder: PathBuf,
    /// Where answers are kept.
    kept: PathBuf,
    /// What the last command or program printed.
    printed: String,
    /// Mails to send as soon as the next program prints an address.
    later: Vec<String>,
}

/// What the reader's server is told, with more of `[http]`.
fn settings(http: &str) -> String {
    format!("{OPEN_DOORS}\n[webhooks]\nenabled = true\n[http]\nrequests_per_minute = 100\n{http}")
}

impl Session {
    pub(crate) fn start() -> Self {
        let gateway = Gateway::start(&settings(""));
        let [folder, kept] = ["reader", "kept"].map(|name| gateway.folder().join(name));
        for folder in [&folder, &kept] {
            fs::create_dir(folder).expect("a folder");
        }
        let modules = tools_folder().join("node_modules");
        std::os::unix::fs::symlink(modules, folder.join("node_modules")).expect("a link");
        for (name, text) in [("package.json", PACKAGE), ("tsconfig.json", COMPILER)] {
            fs::write(folder.join(name), text).expect("it is written");
        }
        Self {
            gateway,
            folder,
            kept,
            printed: String::new(),
            later: Vec::new(),
        }
    }

    /// Ends what was left running.
    pub(crate) fn end(self) {
        let streams = self.kept("streams");
        for pid in streams.lines() {
            tools::run(&mut shell("kill \"$1\"", &[pid]), "");
        }
    }

    pub(crate) fn take(&mut self, item: &Item) {
        let outcome = match item {
            Item::Command { command, prints } => {
                self.command(command);
                self.has_printed(prints)
            }
            Item::Hidden(words) => {
                self.hidden(words);
                Ok(())
            }
            Item::Json(shown) => compare::text(shown, &self.kept("body")),
            Item::Http(shown) => self.has_answered(shown),
            Item::Text(shown) if shown.starts_with("event: ") => self.stream_says(shown),
            Item::Text(shown) => compare::text(shown, &self.printed),
            Item::TypeScript(program) => {
                self.program(program);
                Ok(())
            }
        };
        if let Err(why) = outcome {
            panic!("{item:?}\nis not what happens: {why}");
        }
    }

    /// Ports of the reader's server are those of ours.
    fn translated(&self, text: &str) -> String {
        let mut text = text.replace("localhost", "127.0.0.1");
        for (written, port) in [
            ("8025", self.gateway.http.port()),
            ("2525", self.gateway.smtp.port()),
            ("2465", self.gateway.smtps.port()),
            ("9925", self.gateway.operator.port()),
        ] {
            for before in [":", "--port "] {
                text = text.replace(&format!("{before}{written}"), &format!("{before}{port}"));
            }
        }
        text
    }

    fn command(&mut self, command: &str) {
        let script = format!("{PRELUDE}\n{}\n{POSTLUDE}", self.translated(command));
        let mut shell = shell(&script, &[]);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.folder.join("node_modules/.bin");
        let own = Path::new(env!("CARGO_BIN_EXE_mayfly")).parent();
        let own = own.expect("a folder").display();
        shell
            .current_dir(&self.folder)
            .env("KEPT", &self.kept)
            .env("XDG_STATE_HOME", self.kept.join("state"))
            .env("MAYFLY_SERVER", format!("http://{}", self.gateway.http))
            .env(
                "MAYFLY_OPERATOR",
                format!("http://{}", self.gateway.operator),
            )
            .env("PATH", format!("{}:{own}:{path}:/usr/sbin", bin.display()));
        let output = tools::run(&mut shell, "");
        self.printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{command}: {}",
            tools::said(&output)
        );
    }

    /// Compares what a command printed, if the page shows it.
    fn has_printed(&self, shown: &str) -> Result<(), String> {
        if shown.is_empty() {
            Ok(())
        } else if shown.starts_with("retry: ") {
            self.stream_says(shown)
        } else {
            compare::text(shown, &self.printed)
        }
    }

    fn has_answered(&self, shown: &str) -> Result<(), String> {
        let (head, body) = shown.split_once("\n\n").unwrap_or((shown, ""));
        compare::head(head, &self.kept("head"))?;
        if body.is_empty() {
            return Ok(());
        }
        compare::text(body, &self.kept("body"))
    }

    /// Waits until the stream that was opened last has said so.
    fn stream_says(&self, shown: &str) -> Result<(), String> {
        poll(|| {
            let said = self.kept("stream").replace(":\n\n", "");
            let skipped = usize::from(!shown.starts_with("retry: "));
            let blocks = shown.trim().split("\n\n").count();
            let said: Vec<&str> = said.split("\n\n").skip(skipped).take(blocks).collect();
            let said = said.join("\n\n");
            compare::text(shown, &said)
        });
        Ok(())
    }

    fn kept(&self, name: &str) -> String {
        fs::read_to_string(self.kept.join(name)).unwrap_or_default()
    }

    fn hidden(&mut self, words: &[String]) {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["mailbox"] => {
                let (address, token) = self.gateway.create_with("{\"ttl\": \"30m\"}");
                self.command(&format!("ADDRESS={address} TOKEN={token}"));
            }
            ["mail", file] => {
                self.command("printf %s \"$ADDRESS\"");
                self.mail(&self.printed, file);
            }
            ["kept", "mail", file] => {
                self.command("jq -j .address \"$XDG_STATE_HOME/mayfly/mailbox.json\"");
                self.mail(&self.printed, file);
            }
            ["then", "mail", file] => self.later.push(file.to_owned()),
            ["set", name, value] => self.set(name, value),
            _ => panic!("nobody knows what {words:?} means"),
        }
    }

    /// Gives the server another setting of `[http]`, and waits until it has it.
    fn set(&self, name: &str, value: &str) {
        let counter = ("mayfly_config_reloads_total", "succeeded");
        let before = self.gateway.metric(counter.0, counter.1);
        self.gateway
            .reload(&settings(&format!("{name} = {value}\n")));
        self.gateway.await_metric(counter.0, counter.1, before + 1);
    }

    fn mail(&self, to: &str, file: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/manual")
            .join(file);
        let mail = fs::read_to_string(path)
            .expect("it is there")
            .replace('\n', "\r\n");
        let mut client = Client::connect(self.gateway.smtp);
        client.greet();
        client.ask("MAIL FROM:<hello@harbour.test>", "250");
        client.ask(&format!("RCPT TO:<{to}>"), "250");
        client.ask("DATA", "354");
        client.raw(mail.as_bytes());
        client.ask(".", "250");
    }

    /// Checks a program's types, strictly, and runs it.
    fn program(&mut self, program: &str) {
        let file = self.folder.join("example.ts");
        fs::write(&file, self.translated(program)).expect("it is written");
        self.command("tsc --project .");
        let mut command = tools::program("node");
        command
            .arg("example.js")
            .current_dir(&self.folder)
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("Node.js runs (tests/setup installs it)");
        self.printed = self.listen(&mut child);
        assert!(
            tools::wait(&mut child, PATIENCE).success(),
            "{}",
            self.printed
        );
    }

    /// Everything that a program prints. Who prints an address gets mail there.
    fn listen(&mut self, child: &mut Child) -> String {
        let mut printed = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            if line.ends_with("@mayfly.test") {
                for file in std::mem::take(&mut self.later) {
                    self.mail(&line, &file);
                }
            }
            writeln!(printed, "{line}").expect("memory can be written");
        }
        String::from_utf8(printed).expect("lines of text")
    }
}

fn shell(script: &str, arguments: &[&str]) -> Command {
    let mut command = tools::program("bash");
    command.args(["-c", script, "bash"]).args(arguments);
    command
}

/// Where tests/setup puts the TypeScript compiler.
fn tools_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/manual");
    assert!(
        folder.join("node_modules/.bin/tsc").exists(),
        "tests/setup installs what is missing"
    );
    folder
}

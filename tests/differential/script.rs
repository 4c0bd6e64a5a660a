//! The case file: what is said to every server.
//!
//! ```text
//! # a comment
//! because NAME: TEXT    a reason that several cases share
//! let NAME: TEXT        bytes with a name
//! group TITLE           cases that stand in one table
//! case NAME TITLE       one connection; its steps follow
//! why: TEXT             why mayfly answers otherwise than the others; `why NAME` takes a shared reason
//! needs WORD           only servers that offer this extension play it; before the first case: all of the group
//! hello | mail | txn | data   said and answered before the case begins: up to EHLO, MAIL, RCPT, DATA
//! > TEXT                one segment; then one reply is awaited
//! >3 TEXT               one segment; then three replies are awaited
//! | TEXT                more of the segment above
//! ```
//!
//! In TEXT `\r`, `\n`, `\t`, `\0`, `\\` and `\x41` are bytes, `\{5*ab}` is `ab` five times and `\{NAME}` is what `let` gave that name.

use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) groups: Vec<Group>,
    reasons: BTreeMap<String, String>,
    names: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) title: String,
    needs: Option<String>,
    pub(crate) cases: Vec<Case>,
}

/// What happens on one connection.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) title: String,
    /// The sentence that decides where mayfly differs.
    pub(crate) why: Option<String>,
    /// The extension that a server must offer.
    pub(crate) needs: Option<String>,
    /// Must succeed, and is not part of what is compared.
    pub(crate) setup: Vec<Segment>,
    pub(crate) steps: Vec<Segment>,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    /// How many replies are awaited before the next segment.
    pub(crate) replies: usize,
}

impl Segment {
    fn line(text: &str) -> Self {
        Self {
            bytes: format!("{text}\r\n").into_bytes(),
            replies: 1,
        }
    }
}

/// How far a session is when its case begins.
const SETUP: &[(&str, &str)] = &[
    ("hello", "EHLO t.example"),
    ("mail", "MAIL FROM:<s@x.example>"),
    ("txn", "RCPT TO:<u1@ours.test>"),
    ("data", "DATA"),
];

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let mut script = Self::default();
        for (index, line) in text.lines().enumerate() {
            if let Err(why) = script.line(line) {
                panic!("line {}: {why}: {line}", index + 1);
            }
        }
        script
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "because" | "let" => {
                let (name, text) = rest.split_once(": ").ok_or("no name")?;
                if word == "let" {
                    let bytes = self.bytes(text)?;
                    self.names.insert(name.to_owned(), bytes);
                } else {
                    self.reasons.insert(name.to_owned(), text.to_owned());
                }
            }
            "group" => self.groups.push(Group {
                title: rest.to_owned(),
                needs: None,
                cases: Vec::new(),
            }),
            "case" => {
                let (name, title) = rest.split_once(' ').ok_or("no title")?;
                let cases = self.groups.iter().flat_map(|group| &group.cases);
                if cases.into_iter().any(|case| case.name == name) {
                    return Err("a second case of this name".to_owned());
                }
                let group = self.groups.last_mut().ok_or("no group")?;
                group.cases.push(Case {
                    name: name.to_owned(),
                    title: title.to_owned(),
                    why: None,
                    needs: group.needs.clone(),
                    setup: Vec::new(),
                    steps: Vec::new(),
                });
            }
            "needs" => {
                let group = self.groups.last_mut().ok_or("no group")?;
                let case = group.cases.last_mut();
                *case.map_or(&mut group.needs, |case| &mut case.needs) = Some(rest.to_owned());
            }
            "why:" => self.case()?.why = Some(rest.to_owned()),
            "why" => {
                let reason = self.reasons.get(rest).ok_or("no such reason")?.clone();
                self.case()?.why = Some(reason);
            }
            "hello" | "mail" | "txn" | "data" => self.case()?.setup = setup(word),
            _ => self.step(word, rest)?,
        }
        Ok(())
    }

    fn step(&mut self, word: &str, text: &str) -> Result<(), String> {
        let bytes = self.bytes(text)?;
        let steps = &mut self.case()?.steps;
        if word == "|" {
            let last = steps.last_mut().ok_or("no segment")?;
            last.bytes.extend_from_slice(&bytes);
            return Ok(());
        }
        let replies = match word.strip_prefix('>').ok_or("no such word")? {
            "" => 1,
            number => number.parse().map_err(|_| "not a number")?,
        };
        steps.push(Segment { bytes, replies });
        Ok(())
    }

    fn case(&mut self) -> Result<&mut Case, String> {
        let group = self.groups.last_mut().ok_or("no group")?;
        group.cases.last_mut().ok_or_else(|| "no case".to_owned())
    }

    fn bytes(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first != '\\' {
                out.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let kind = rest.as_bytes().get(1).ok_or("ends with \\")?;
            rest = &rest[2..];
            match kind {
                b'r' => out.push(b'\r'),
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'0' => out.push(0),
                b'\\' => out.push(b'\\'),
                b'x' => {
                    let digits = rest.get(..2).ok_or("two digits")?;
                    out.push(u8::from_str_radix(digits, 16).map_err(|why| why.to_string())?);
                    rest = &rest[2..];
                }
                b'{' => {
                    let (inside, behind) = rest.split_once('}').ok_or("no }")?;
                    out.extend(self.repeated_or_named(inside)?);
                    rest = behind;
                }
                _ => return Err("no such escape".to_owned()),
            }
        }
        Ok(out)
    }

    fn repeated_or_named(&self, inside: &str) -> Result<Vec<u8>, String> {
        let Some((times, text)) = inside.split_once('*') else {
            let named = self.names.get(inside).ok_or("no such name")?;
            return Ok(named.clone());
        };
        let times = times.parse().map_err(|_| "not a number")?;
        Ok(self.bytes(text)?.repeat(times))
    }
}

fn setup(until: &str) -> Vec<Segment> {
    let last = SETUP.iter().rposition(|(word, _)| *word == until);
    let said = &SETUP[..=last.expect("a row")];
    said.iter().map(|(_, line)| Segment::line(line)).collect()
}

use super::*;
use std::collections::BTreeSet;

/// Everything that the page is made of, as it is sent.
const BYTES_MAX: usize = 60 << 10;

fn text(file: &File) -> &'static str {
    std::str::from_utf8(file.bytes).expect("UTF-8")
}

fn catalogues() -> Vec<(&'static str, Vec<&'static str>)> {
    let files = FILES.iter().filter(|file| file.name.starts_with("lang/"));
    files
        .map(|file| (file.name, text(file).lines().collect()))
        .collect()
}

/// The placeholders of a text, such as `{n}`.
fn placeholders(text: &str) -> BTreeSet<&str> {
    let after = text.split('{').skip(1);
    after.filter_map(|rest| rest.split('}').next()).collect()
}

#[test]
fn the_whole_page_is_small_with_all_its_languages() {
    let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
    let bytes = bytes + DOCUMENT.len();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes of {BYTES_MAX}");
}

#[test]
fn every_catalogue_has_every_text_with_its_placeholders() {
    let words = FILES.iter().find(|file| file.name == "words.js");
    let words = text(words.expect("there is one"));
    let keys = words.split('`').nth(1).expect("the keys");
    let keys: Vec<&str> = keys.split_whitespace().collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    let all = catalogues();
    assert!(all.len() >= 8);
    let (_, english) = all
        .iter()
        .find(|(name, _)| *name == "lang/en.txt")
        .expect("English");
    for (name, lines) in &all {
        assert_eq!(lines.len(), keys.len(), "{name}");
        let code = &name["lang/".len()..name.len() - ".txt".len()];
        assert!(
            words.contains(&format!("{code}: \"")),
            "{name} can be chosen"
        );
        for ((key, line), english) in keys.iter().zip(lines).zip(english) {
            assert!(
                !line.trim().is_empty() && line.trim() == *line,
                "{name}: {key}"
            );
            assert_eq!(placeholders(line), placeholders(english), "{name}: {key}");
        }
    }
}

#[test]
fn every_text_is_used_and_every_text_that_is_used_is_there() {
    let scripts = FILES.iter().filter(|file| file.name.ends_with(".js"));
    let scripts: Vec<&str> = scripts.map(text).collect();
    let all = scripts.concat();
    let words = all.split("KEYS = `").nth(1).expect("the keys");
    let keys: BTreeSet<&str> = words
        .split('`')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for key in &keys {
        let quoted = [format!("\"{key}\""), format!("\t{key}:")];
        let used = quoted.iter().any(|quoted| all.contains(quoted));
        assert!(used, "{key} is not used");
    }
    for used in all.split("t(\"").skip(1) {
        let key = used.split('"').next().unwrap_or_default();
        // `split("\n")` and the like are no texts.
        let is_key = key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(!is_key || key.is_empty() || keys.contains(key), "{key}");
    }
}

#[test]
fn the_document_and_the_modules_name_only_files_that_exist() {
    let names: BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
    let mut named = 0;
    for at in DOCUMENT.split(PLACE).skip(1) {
        let name = at[1..].split('"').next().unwrap_or_default();
        assert!(names.contains(name), "{name}");
        named += 1;
    }
    for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
        for at in text(file).split("from \"./").skip(1) {
            let name = at.split('"').next().unwrap_or_default();
            assert!(names.contains(name), "{name} in {}", file.name);
            named += 1;
        }
    }
    assert!(named > 10);
}

/// The policy forbids it too. This says so before a browser does.
#[test]
fn nothing_in_the_page_makes_markup_of_text() {
    for file in FILES.iter().filter(|file| file.name.ends_with(".js")) {
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "srcdoc",
            "eval(",
            "Function(",
            "createContextualFragment",
            "DOMParser",
            "setTimeout(\"",
        ] {
            assert!(!text(file).contains(sink), "{sink} in {}", file.name);
        }
    }
    for sink in [
        "<style",
        "style=",
        "onclick",
        "javascript:",
        "http:",
        "https:",
    ] {
        assert!(!DOCUMENT.contains(sink), "{sink} in the document");
    }
}

#[test]
fn browsers_get_the_page_and_programs_do_not() {
    for (accept, wanted) in [
        (None, false),
        (Some("*/*"), false),
        (Some("application/json, text/plain;q=0.9"), false),
        (Some("text/html,application/xhtml+xml,*/*;q=0.8"), true),
        (Some("application/json, Text/HTML ;q=0.5"), true),
        (Some("text/html5"), false),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        assert_eq!(is_wanted(&headers), wanted, "{accept:?}");
    }
}

#[test]
fn a_known_document_is_not_sent_again() {
    let tag = Page::get().tag.to_str().expect("ASCII").to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("\"other\", W/{tag}"), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&known).expect("a value");
        headers.insert(header::IF_NONE_MATCH, value);
        let response = document(&headers);
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(response.headers()[header::ETAG], tag);
    }
}

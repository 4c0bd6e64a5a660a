//! File names of attachments, made safe: whatever a stranger called a file, its name cannot leave a
//! folder, end a header field, or look like something that it is not.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// The longest name in bytes: what common file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// The longest ending that survives when a name is cut.
const ENDING_BYTES_MAX: usize = 16;

/// Names that mean devices on some systems, whatever their ending.
const DEVICES: &[&str] = &["aux", "con", "nul", "prn"];

/// Endings by media type, for attachments without a name.
const ENDINGS: &[(&str, &str)] = &[
    ("application/json", "json"),
    ("application/pdf", "pdf"),
    ("application/zip", "zip"),
    ("image/gif", "gif"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/svg+xml", "svg"),
    ("image/webp", "webp"),
    ("message/delivery-status", "txt"),
    ("message/global", "eml"),
    ("message/rfc822", "eml"),
    ("text/calendar", "ics"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/rfc822-headers", "txt"),
];

/// Whether a character may change how the rest of a name is shown, or is not shown itself.
pub(super) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164
            | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0xE000..=0xF8FF | 0xE0000..=0x10_FFFF)
        || u32::from(character) & 0xFFFE == 0xFFFE
}

/// The name under which attachment `number` of this media type is offered.
#[must_use]
pub fn safe_name(given: Option<&str>, number: usize, kind: &str) -> String {
    let given = given.unwrap_or_default();
    // Only the beginning of an absurdly long path is dropped: its last part is the name.
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .filter(|character| !is_deceptive(*character))
        .map(|character| match character {
            '"' | '*' | ':' | '<' | '>' | '?' | '|' => '_',
            blank if blank.is_whitespace() => ' ',
            other => other,
        })
        .collect();
    let trimmed = trim(&plain).trim_start_matches('.');
    let cut = trim(trimmed);
    if cut.is_empty() {
        return format!("attachment-{number}.{}", ending_of_kind(kind));
    }
    let mut name = shortened(cut);
    if is_device(&name) {
        name.insert(0, '_');
        name = shortened(&name);
    }
    name
}

/// Without blanks at both ends and dots at the end, which some systems drop in silence.
fn trim(name: &str) -> &str {
    name.trim_start_matches(' ').trim_end_matches([' ', '.'])
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let numbered = |prefix: &str| {
        let number = stem.get(prefix.len()..).unwrap_or_default();
        stem.len() == 4
            && stem
                .get(..3)
                .is_some_and(|stem| stem.eq_ignore_ascii_case(prefix))
            && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    DEVICES
        .iter()
        .any(|device| stem.eq_ignore_ascii_case(device))
        || numbered("com")
        || numbered("lpt")
}

/// Cut to the longest length between characters; the ending stays, because people judge a file by it.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let ending = match name.rfind('.') {
        Some(dot) if name.len() - dot <= ENDING_BYTES_MAX => &name[dot..],
        _ => "",
    };
    let stem = &name[..name.len() - ending.len()];
    let stem = &stem[..stem.floor_char_boundary(NAME_BYTES_MAX - ending.len())];
    format!("{}{ending}", trim(stem))
}

fn ending_of_kind(kind: &str) -> &'static str {
    let known = ENDINGS.iter().find(|(known, _)| *known == kind);
    known.map_or("bin", |(_, ending)| ending)
}

/// A media type as it may be shown: two tokens of sane length, or that of unknown bytes.
#[must_use]
pub fn safe_kind(kind: &str, subtype: Option<&str>) -> String {
    let token = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(fits)
    };
    match subtype {
        Some(subtype) if token(kind) && token(subtype) => {
            format!("{kind}/{subtype}").to_ascii_lowercase()
        }
        _ => "application/octet-stream".to_owned(),
    }
}

/// The field that makes every browser save and not show (RFC 6266): the name in plain ASCII, and as
/// it is (RFC 8187).
#[must_use]
pub fn content_disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|character| match character {
            '"' | '\\' | '%' => '_',
            plain if (' '..='~').contains(&plain) => plain,
            _ => '_',
        })
        .collect();
    let mut field = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        field.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            let unreserved = byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
            if unreserved {
                field.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(field, "%{byte:02X}");
            }
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn j7_names_cannot_leave_a_folder_end_a_field_or_deceive() {
        let long = format!("{}.exe", "\u{e4}".repeat(100_000));
        for (given, safe) in [
            (Some("../../etc/x"), "x"),
            (Some("C:\\Users\\a\\b.txt"), "b.txt"),
            (Some("a\r\nSet-Cookie: x"), "aSet-Cookie_ x"),
            (Some("photo\u{202e}gpj.exe"), "photogpj.exe"),
            (Some(".bashrc"), "bashrc"),
            (Some("..."), "attachment-3.pdf"),
            (Some("  a.txt. . "), "a.txt"),
            (Some("nul.txt"), "_nul.txt"),
            (Some("COM7"), "_COM7"),
            (Some("company.txt"), "company.txt"),
            (Some("a\0b.png"), "ab.png"),
            (Some(""), "attachment-3.pdf"),
            (None, "attachment-3.pdf"),
        ] {
            assert_eq!(safe_name(given, 3, "application/pdf"), safe, "{given:?}");
        }
        let cut = safe_name(Some(&long), 0, "");
        assert!(cut.len() <= NAME_BYTES_MAX && cut.ends_with("\u{e4}.exe"));
    }

    #[test]
    fn the_field_of_a_name_is_ascii_and_says_the_name_twice() {
        assert_eq!(
            content_disposition("a \"b\".txt"),
            "attachment; filename=\"a _b_.txt\"; filename*=UTF-8''a%20%22b%22.txt"
        );
        assert_eq!(
            content_disposition("a.txt"),
            "attachment; filename=\"a.txt\""
        );
    }

    #[test]
    fn kinds_are_two_tokens() {
        assert_eq!(safe_kind("Text", Some("HTML")), "text/html");
        for (kind, subtype) in [
            ("text", None),
            ("", Some("x")),
            ("a/b", Some("c\r\n")),
            ("a b", Some("c")),
        ] {
            assert_eq!(safe_kind(kind, subtype), "application/octet-stream");
        }
    }

    proptest! {
        #[test]
        fn any_name_becomes_safe(given in any::<String>(), pad in 0_usize..300) {
            let given = format!("{given}{}", "x".repeat(pad));
            let name = safe_name(Some(&given), 1, "text/plain");
            prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
            prop_assert!(!name.contains(['/', '\\', '"', ':']) && !name.starts_with('.'));
            prop_assert!(!name.chars().any(is_deceptive));
            // Safe names stay what they are.
            prop_assert_eq!(&safe_name(Some(&name), 1, "text/plain"), &name);
            let field = content_disposition(&name);
            prop_assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(field.matches('"').count(), 2);
        }
    }
}

#![forbid(unsafe_code)]

use super::*;
use crate::settings::Bytes;
use proptest::prelude::*;

fn limits() -> Limits {
    Limits::default()
}

fn mail(lines: &[&str]) -> Vec<u8> {
    lines.join("\r\n").into_bytes()
}

/// A mail with text, HTML, an image in it and a file.
fn rich() -> Vec<u8> {
    mail(&[
        "From: a@b.test",
        "Subject: Your code is 482913",
        "Content-Type: multipart/mixed; boundary=m",
        "",
        "--m",
        "Content-Type: multipart/related; boundary=r",
        "",
        "--r",
        "Content-Type: multipart/alternative; boundary=a",
        "",
        "--a",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Gr=C3=BC=C3=9Fe",
        "--a",
        "Content-Type: text/html; charset=iso-8859-1",
        "",
        "<p onclick=x>Gr&uuml;&szlig;e<img src=\"cid:i%40x\"></p>",
        "--a--",
        "--r",
        "Content-Type: image/png",
        "Content-ID: <i@x>",
        "Content-Transfer-Encoding: base64",
        "",
        "iVBORw0KGgo=",
        "--r--",
        "--m",
        "Content-Type: application/pdf; name=\"../x.pdf\"",
        "Content-Disposition: attachment; filename*=utf-8''%e2%80%ae..%2fa%0d%0ab.pdf",
        "Content-Transfer-Encoding: base64",
        "",
        "SGVsbG8=",
        "--m--",
        "",
    ])
}

#[test]
fn a_message_is_text_html_and_files() {
    let raw = rich();
    let reading = read(&raw, &limits());
    assert_eq!(reading.text, "Gr\u{fc}\u{df}e");
    let html = reading.html.expect("there is some");
    assert!(
        html.clean
            .starts_with("<p>Gr\u{fc}\u{df}e<img src=\"data:image/png;base64,iVBORw0KGgo=\""),
        "{}",
        html.clean
    );
    assert!(!reading.is_truncated && !reading.is_malformed);
    let [image, file] = &reading.attachments[..] else {
        panic!("two: {:?}", reading.attachments);
    };
    assert_eq!(
        (&*image.name, &*image.kind, image.is_inline),
        ("attachment-0.png", "image/png", true)
    );
    assert_eq!(
        (&*file.name, file.size, file.is_inline),
        ("ab.pdf", 5, false)
    );
    let (same, bytes) = attachment(&raw, &limits(), 1).expect("is there");
    assert_eq!((&same, &bytes[..]), (file, &b"Hello"[..]));
    assert_eq!(attachment(&raw, &limits(), 2), None);
    assert_eq!(reading.findings.codes[0].code, "482913");
    assert_eq!(scan(&raw, &limits()), reading.findings);
    assert_eq!(text(&raw, &limits()), reading.text);
    assert!(
        document(&raw, &limits(), Remote::Blocked)
            .expect("html")
            .contains(&html.clean)
    );
}

#[test]
fn html_alone_has_a_text_and_text_alone_no_html() {
    let raw = mail(&["Content-Type: text/html", "", "<p>a</p><p>b</p>"]);
    assert_eq!(text(&raw, &limits()), "a\n\nb");
    let raw = mail(&["", "a", "b", ""]);
    assert_eq!(text(&raw, &limits()), "a\nb\n");
    assert_eq!(document(&raw, &limits(), Remote::Blocked), None);
}

#[test]
fn a_footer_that_a_list_adds_is_seen_in_both() {
    let raw = mail(&[
        "Content-Type: multipart/mixed; boundary=m",
        "",
        "--m",
        "Content-Type: text/html",
        "",
        "<b>x</b>",
        "--m",
        "",
        "the <list>",
        "--m--",
        "",
    ]);
    let html = read(&raw, &limits()).html.expect("html");
    assert!(html.clean.contains("the &lt;list&gt;"), "{}", html.clean);
}

#[test]
fn malformed_mail_always_shows_something() {
    for (raw, shown) in [
        (&b"no header at all"[..], "no header at all"),
        (b"A: b\r\nbroken line\r\n\r\nbody", "broken line"),
        (
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno parts",
            "no parts",
        ),
        (
            b"Content-Type: multipart/mixed\r\n\r\nno boundary",
            "no boundary",
        ),
        (
            b"Content-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe body",
            "body",
        ),
        (
            b"Content-Transfer-Encoding: base64\r\n\r\n!!! not base64 !!!",
            "",
        ),
        (b"Content-Type: ;;;===\r\n\r\nbody", ""),
        (b"", ""),
    ] {
        let reading = read(raw, &limits());
        assert!(
            reading.text.contains(shown),
            "{:?} of {}",
            reading.text,
            raw.escape_ascii()
        );
    }
}

#[test]
fn j2_encoded_nesting_is_not_opened() {
    let mut raw = b"Subject: inner\r\n\r\nx".to_vec();
    for _ in 0..20 {
        let inner = data_encoding::BASE64.encode(&raw);
        raw = format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{inner}"
        )
        .into_bytes();
    }
    let reading = read(&raw, &limits());
    assert_eq!(
        (reading.attachments.len(), &*reading.attachments[0].name),
        (1, "attachment-0.eml")
    );
    assert_eq!(reading.text, "");
}

#[test]
fn j4_character_sets_and_encoded_words_stay_text() {
    for (charset, body) in [
        ("utf-7", &b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"[..]),
        (
            "iso-2022-jp",
            b"\x1b$B!c\x1b(Bscript\x1b$B!d\x1b(Balert(1)<script>",
        ),
        ("utf-16le", b"<\0s\0c\0r\0i\0p\0t\0>\0"),
    ] {
        let head = format!("Content-Type: text/html; charset={charset}\r\n\r\n");
        let raw = [head.as_bytes(), body].concat();
        let html = document(&raw, &limits(), Remote::Blocked).expect("html");
        assert!(!html.contains("<script"), "{html}");
    }
    let words = format!("Subject: {}\r\n\r\nx", "=?utf-8?q?".repeat(100_000));
    assert!(fields(words.as_bytes()).len() <= 1);
    let pieces: String = (0..100_000)
        .map(|nth| format!(" filename*{nth}*=x;\r\n"))
        .collect();
    let raw = format!("Content-Disposition: attachment;\r\n{pieces} a=b\r\n\r\nx");
    let reading = read(raw.as_bytes(), &limits());
    assert!(reading.attachments[0].name.len() <= 255);
}

#[test]
fn j6_archives_and_many_attachments_are_not_opened() {
    let part =
        "--m\r\nContent-Type: application/zip\r\nContent-Disposition: attachment\r\n\r\nPK\r\n";
    let raw = format!(
        "Content-Type: multipart/mixed; boundary=m\r\n\r\n{}--m--\r\n",
        part.repeat(10_000)
    );
    let reading = read(raw.as_bytes(), &limits());
    assert!(reading.is_truncated);
    assert_eq!(reading.attachments.len(), 999);
    assert!(reading.attachments.iter().all(|it| it.size == 2));
}

#[test]
fn limits_cut_and_say_so() {
    let few = Limits {
        text_bytes_max: Bytes(100),
        html_bytes_max: Bytes(100),
        inline_bytes_max: Bytes(4),
        ..limits()
    };
    let raw = format!("\r\n{}", "\u{e4}".repeat(200));
    let reading = read(raw.as_bytes(), &few);
    assert!(reading.is_truncated && reading.text.len() <= 100);
    let html = format!("Content-Type: text/html\r\n\r\n{}", "<b>x</b>".repeat(100));
    assert!(read(html.as_bytes(), &few).is_truncated);
    let large = read(&rich(), &few);
    assert!(
        large
            .html
            .expect("html")
            .clean
            .contains("data-attachment=\"0\"")
    );
}

proptest! {
    #[test]
    fn a_broken_mail_is_a_mail(at in 0_usize..1_200, byte in any::<u8>(), cut in 0_usize..1_200) {
        let mut raw = rich();
        let at = at % raw.len();
        raw[at] = byte;
        raw.truncate(raw.len() - cut % raw.len());
        let reading = read(&raw, &limits());
        for attached in &reading.attachments {
            let (_, bytes) = attachment(&raw, &limits(), attached.index).expect("is there");
            prop_assert_eq!(bytes.len(), attached.size);
            prop_assert!(bytes.len() <= raw.len());
        }
    }
}

#[test]
fn a_glance_is_one_line_of_what_people_read() {
    for (raw, intro, has_attachments) in [
        (
            &b"Subject: x\r\n\r\nHello\r\n\r\n  there,   you\r\n"[..],
            "Hello there, yo",
            false,
        ),
        (
            b"Content-Type: text/html\r\n\r\n<p>Hi <b>you</b></p><script>x</script>",
            "Hi you",
            false,
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
              Content-Disposition: attachment\r\n\r\ntwo\r\n--b--\r\n",
            "one",
            true,
        ),
        (
            b"\r\n\xc3\xa4 \xc3\xa4bcdefghijklmnopqr",
            "\u{e4} \u{e4}bcdefghijklm",
            false,
        ),
        (b"", "", false),
    ] {
        let found = glance(raw, &Limits::default(), 15);
        let wanted = Glance {
            intro: intro.to_owned(),
            has_attachments,
        };
        assert_eq!(found, wanted, "{}", raw.escape_ascii());
    }
}

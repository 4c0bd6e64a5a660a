#![forbid(unsafe_code)]

use super::*;
use proptest::prelude::*;

fn cleaned(html: &str) -> Html {
    let mut images = |id: &str| match id {
        "logo@a" => Image::Data("data:image/png;base64,iVBORw0KGgo=".to_owned()),
        "large@a" => Image::Attachment(3),
        _ => Image::Unknown,
    };
    read(html, &Limits::default(), Some(&mut images), Remote::Blocked)
}

/// Everything that may stand in clean HTML, and nothing else.
fn assert_harmless(clean: &str, from: &str) {
    for token in Tokens::new(clean) {
        let Token::Open(tag) = token else { continue };
        assert!(is_known(&tag.name), "{} of {from}", tag.name);
        for (name, value) in &tag.attributes {
            let own = matches!(
                *name,
                "href" | "target" | "rel" | "src" | "data-remote" | "data-attachment"
            );
            assert!(own || ATTRIBUTES.contains(name), "{name} of {from}");
            let value = unescaped(value).to_ascii_lowercase();
            match *name {
                "href" => assert!(safe_url(&value).is_some(), "{value} of {from}"),
                "src" => assert!(is_data_image(&value), "{value} of {from}"),
                "style" => assert!(
                    !value.contains("url(") && !value.contains("position"),
                    "{value}"
                ),
                _ => {}
            }
        }
        if tag.name == "a" && tag.value("href").is_some() {
            assert_eq!(
                tag.value("rel").as_deref(),
                Some("noopener noreferrer nofollow")
            );
            assert_eq!(tag.value("target").as_deref(), Some("_blank"));
        }
    }
}

/// Ways to run a script, to load something, or to leave the frame.
const ATTACKS: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<a href=\" java\nscript:alert(1)\">x</a>",
    "<a href=\"&#106;avascript:alert(1)\">x</a>",
    "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
    "<a href=vbscript:msgbox(1)>x</a>",
    "<a href=\"//evil.test/\">x</a>",
    "<a href=\"https://a.test/\" ping=\"https://evil.test\" target=_top rel=opener>x</a>",
    "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "<object data=evil.swf></object><embed src=evil.swf>",
    "<base href=https://evil.test/><link rel=stylesheet href=//evil.test/x.css>",
    "<link rel=dns-prefetch href=//evil.test><meta http-equiv=refresh content=\"0;url=https://evil.test\">",
    "<form action=https://evil.test><input name=q><button formaction=javascript:alert(1)>x</button></form>",
    "<style>@import url(//evil.test/x.css); *{background:url(//evil.test)}</style>",
    "<div style=\"background:url(https://evil.test/p)\">x</div>",
    "<div style=\"position:fixed;top:0;left:0;width:100%;height:100%\">x</div>",
    "<div style=\"color:\\75rl(x);behavior:url(x)\">x</div>",
    "<video poster=//evil.test/p><source src=//evil.test/v></video><audio src=//evil.test/a>",
    "<picture><source srcset=//evil.test/p><img srcset=\"//evil.test/q 2x\"></picture>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<textarea><img title=\"</textarea><img src=x onerror=alert(1)>\">",
    "<title><img title=\"</title><img src=x onerror=alert(1)>\"></title>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--[if gte mso 9]><script>alert(1)</script><![endif]-->",
    "<xmp><p title=\"</xmp><svg/onload=alert(1)>\">",
    "<img src=\"data:image/svg+xml;base64,PHN2Zz4=\"><img src=\"data:text/html,x\">",
    "<p id=x class=y name=z data-remote=a data-x=b onclick=alert(1)>x</p>",
    "<template><script>alert(1)</script></template><select><option><img src=x onerror=alert(1)>",
    "<table><tr><td><img src=x onerror=alert(1)></table><plaintext><script>alert(1)",
    "<a/href=\"https://a.test\"onclick=alert(1)>x",
    "<div title='\"><script>alert(1)</script>'>x</div>",
    "\u{0}<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
    "<x onclick=alert(1)>x</x><custom-element is=y>",
];

#[test]
fn l1_nothing_that_runs_or_loads_survives() {
    for attack in ATTACKS {
        let html = cleaned(attack);
        assert_harmless(&html.clean, attack);
        // The second layer alone holds too.
        let alone = sanitiser(Remote::Blocked).clean(attack).to_string();
        for loud in [
            "<script",
            "onerror=",
            "javascript:",
            "<svg",
            "<math",
            "<iframe",
            "<style",
        ] {
            let escaped = alone.replace("title=\"", "");
            assert!(
                !escaped.contains(loud) || escaped.contains("&quot;"),
                "{loud} of {attack}: {alone}"
            );
        }
    }
}

#[test]
fn l2_what_would_be_loaded_is_listed_and_not_loaded() {
    let html = cleaned(
        "<img src='https://t.test/p.gif?u=1' width=1><img src=//t.test/q><table background=http://t.test/b>\
         <td style='background-image:url(\"https://t.test/c\")'>x</td></table><img srcset='https://t.test/d 2x'>",
    );
    let expected = [
        "https://t.test/p.gif?u=1",
        "https://t.test/q",
        "http://t.test/b",
        "https://t.test/c",
        "https://t.test/d",
    ];
    assert_eq!(html.remote, expected);
    assert!(
        html.clean
            .contains("data-remote=\"https://t.test/p.gif?u=1\""),
        "{}",
        html.clean
    );
    assert!(!html.clean.contains(" src="), "{}", html.clean);
}

#[test]
fn images_of_the_message_are_put_in() {
    let html = cleaned("<img src=cid:logo@a alt=Logo><img src='CID:large@a'><img src=cid:none>");
    assert!(
        html.clean
            .contains("src=\"data:image/png;base64,iVBORw0KGgo=\""),
        "{}",
        html.clean
    );
    assert!(
        html.clean.contains("data-attachment=\"3\""),
        "{}",
        html.clean
    );
    assert_eq!(html.images, 1);
    assert_eq!(image_kind(b"RIFFxxxxWEBPVP8 "), Some("image/webp"));
    for bytes in [&b"<svg>"[..], b"RIFFxxxxWAVE", b"", b"<html>"] {
        assert_eq!(image_kind(bytes), None);
    }
}

#[test]
fn l6_links_lead_to_pages_and_tell_nobody_where_from() {
    let html = cleaned(
        "<a href='https://a.test/?x=1&amp;y=2'>go</a> <a href='mailto:a@b.test'>write</a> <a href='ftp://x'>no</a>",
    );
    assert_eq!(
        html.clean,
        "<a href=\"https://a.test/?x=1&amp;y=2\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">go</a> \
         <a href=\"mailto:a@b.test\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">write</a> \
         <a rel=\"noopener noreferrer nofollow\">no</a>"
    );
    let anchors: Vec<_> = html
        .anchors
        .iter()
        .map(|it| (&*it.url, &*it.text, it.offset))
        .collect();
    assert_eq!(
        anchors,
        [
            ("https://a.test/?x=1&y=2", "go", 0),
            ("mailto:a@b.test", "write", 3)
        ]
    );
}

#[test]
fn people_see_the_same_words_as_text() {
    for (html, text) in [
        ("<p>one</p><p>two<br>three</p>", "one\n\ntwo\nthree"),
        ("<ul><li>a<li>b</ul>c", "- a\n- b\nc"),
        (
            "<table><tr><td>1</td><td>2</td></tr><tr><td>3</table>",
            "1 2\n3",
        ),
        ("a  \n b&nbsp;c", "a b c"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("x<style>y</style><script>z</script>", "x"),
        ("<a href='https://a.test'><img alt='Go'></a>", "Go"),
        ("a\u{200b}\u{202e}b", "ab"),
    ] {
        assert_eq!(cleaned(html).text, text, "{html}");
    }
}

#[test]
fn html_bombs_stay_small() {
    let limits = Limits::default();
    let formats: String = (0..60).map(|nth| format!("<b title={nth}>")).collect();
    for bomb in [
        "<div>".repeat(100_000),
        "<b>".repeat(100_000),
        "<span>".repeat(50_000) + &"</x>".repeat(50_000),
        format!("<p>{formats}{}", "<div>x</div>".repeat(50_000)),
        "<table>".repeat(50_000),
        "<a href=https://a.test>".repeat(40_000),
        "<span><div></span>".repeat(40_000),
        "<svg>".repeat(100_000),
        "<!--".repeat(100_000),
        "&#x".repeat(200_000),
        "<a ".repeat(200_000),
        format!("<p {}>", "a=b ".repeat(200_000)),
    ] {
        let mut images = |_: &str| Image::Unknown;
        let html = read(&bomb, &limits, Some(&mut images), Remote::Blocked);
        let most = 20 * bomb.len() + 100;
        assert!(
            html.clean.len() <= most,
            "{} of {}",
            html.clean.len(),
            bomb.len()
        );
        assert!(html.anchors.len() <= LISTED_MAX);
    }
    let large = "x".repeat(3 << 20);
    assert!(cleaned(&large).is_truncated);
}

proptest! {
    #[test]
    fn any_html_becomes_harmless(pieces in proptest::collection::vec(0..ATTACKS.len(), 1..4), cut in 0_usize..200, noise in "[<>/=\"'a-z& ]{0,40}") {
        let mut whole: String = pieces.iter().map(|piece| ATTACKS[*piece]).collect();
        let at = whole.floor_char_boundary(cut.min(whole.len()));
        whole.insert_str(at, &noise);
        let html = cleaned(&whole);
        assert_harmless(&html.clean, &whole);
        // Clean HTML has no second meaning.
        let again = sanitiser(Remote::Blocked).clean(&html.clean).to_string();
        prop_assert_eq!(again, html.clean);
    }
}

#[test]
fn images_from_elsewhere_come_over_https_when_they_are_asked_for() {
    let shown = |html: &str| {
        read(
            html,
            &Limits::default(),
            Some(&mut |_: &str| Image::Unknown),
            Remote::Shown,
        )
    };
    for (source, address) in [
        ("https://t.test/a.gif", Some("https://t.test/a.gif")),
        (
            "http://t.test/a.gif?b=c&amp;d",
            Some("https://t.test/a.gif?b=c&amp;d"),
        ),
        ("//t.test/a.gif", Some("https://t.test/a.gif")),
        ("HTTP://T.test/a", Some("https://T.test/a")),
        ("ftp://t.test/a.gif", None),
        ("javascript:alert(1)", None),
        ("data:image/svg+xml,x", None),
        ("/api/v1/info", None),
        ("https:/\\t.test", None),
    ] {
        let html = shown(&format!("<p>x</p><img src=\"{source}\">"));
        let expected = address.map(|it| format!(" src=\"{it}\""));
        match expected {
            Some(expected) => assert!(html.clean.contains(&expected), "{source}: {}", html.clean),
            None => assert!(!html.clean.contains("src="), "{source}: {}", html.clean),
        }
        assert!(!html.clean.contains("data-remote"), "{source}");
    }
    for attack in ATTACKS {
        let html = shown(attack);
        for loud in ["<script", "<svg", "<math", "<iframe", "<style", "srcset"] {
            assert!(!html.clean.contains(loud), "{loud} of {attack}");
        }
        for token in Tokens::new(&html.clean) {
            let Token::Open(tag) = token else { continue };
            let source = tag.value("src").unwrap_or_default();
            let known =
                source.is_empty() || is_data_image(&source) || source.starts_with("https://");
            assert!(
                known && (source.is_empty() || tag.name == "img"),
                "{source} of {attack}"
            );
            assert!(
                tag.attributes
                    .iter()
                    .all(|(name, _)| !name.starts_with("on"))
            );
        }
    }
}

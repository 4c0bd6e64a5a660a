#![forbid(unsafe_code)]

use super::*;
use proptest::prelude::*;

fn best(subject: &str, text: &str) -> Option<Code> {
    let given = Given {
        subject,
        text,
        ..Given::default()
    };
    find(&given).codes.into_iter().next()
}

fn code(text: &str) -> Option<String> {
    best("", text).map(|code| code.code)
}

#[test]
fn codes_of_all_shapes_are_read() {
    for (text, expected) in [
        ("Your code is 123456.", "123456"),
        ("Your code: 123 456", "123456"),
        ("Your code: 123-456", "123456"),
        ("Your code: 1 2 3 4 5 6", "123456"),
        ("Your code: 12 34 56", "123456"),
        ("Your code: 1234 5678", "12345678"),
        ("G-123456 is your verification code", "G-123456"),
        ("Your verification code is X7K2P9", "X7K2P9"),
        ("Your code:\n\nABC-DEF\n", "ABC-DEF"),
        (
            "\u{8a8d}\u{8a3c}\u{30b3}\u{30fc}\u{30c9}\u{ff1a}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}",
            "123456",
        ),
        (
            "\u{631}\u{645}\u{632} \u{627}\u{644}\u{62a}\u{62d}\u{642}\u{642}: \u{661}\u{662}\u{663}\u{664}",
            "1234",
        ),
        ("Your one-time code 2024", "2024"),
        (
            "Use code 482913 (valid until 2026-11-22 10:45:30)",
            "482913",
        ),
    ] {
        assert_eq!(code(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_is_something_else_is_left_alone() {
    for text in [
        "Copyright 2026",
        "Order number 482913, thank you",
        "Call +49 30 123456 or (020) 7946 0958",
        "Total: $1,234.56 or 123456 EUR",
        "Postcode 10115 Berlin",
        "color: #123456",
        "https://a.test/verify/123456",
        "Invoice 2026-4711 of 22.11.2026 at 10:45",
        "Use promo code SAVE2026",
        "write to code123456@a.test",
        "tracking 1Z999AA10123456784",
    ] {
        assert_eq!(code(text), None, "{text}");
    }
}

#[test]
fn a_finding_says_where_it_stands() {
    let found = best("\u{e4} code: 482913", "x").expect("a code");
    assert_eq!((found.place, found.offset), (Place::Subject, 8));
    let found = best("", "J\u{f6}rg, your code is 482913").expect("a code");
    assert_eq!((found.place, found.offset), (Place::Text, 19));
    let twice = best("482913 is your login code", "Your login code: 482913").expect("a code");
    assert!(
        twice.confidence > 0.9 && twice.place == Place::Subject,
        "{twice:?}"
    );
}

#[test]
fn links_are_told_from_other_links() {
    let links = [
        (
            "https://a.test/verify?token=abcdef123456",
            "Verify my address",
            0,
        ),
        (
            "https://a.test/unsubscribe?token=abcdef123456",
            "Unsubscribe",
            20,
        ),
        ("https://a.test/", "Shop now", 40),
    ];
    let given = Given {
        subject: "Verify",
        html: Some("Verify my address"),
        links: &links,
        ..Given::default()
    };
    let found = find(&given).links;
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].url, found[0].place), (links[0].0, Place::Html));
    let given = Given {
        text: "To unsubscribe: https://a.test/u/0123456789abcdef0123",
        ..Given::default()
    };
    assert_eq!(find(&given).links, []);
}

#[test]
fn an_address_inside_another_is_a_part_of_it() {
    let outer = "https://t.example/c?to=https://a.example/verify?token=0123456789abcdef";
    let text = format!("Please verify your address:\n{outer}\n");
    let given = Given {
        text: &text,
        ..Given::default()
    };
    let found = find(&given).links;
    let urls: Vec<&str> = found.iter().map(|link| link.url.as_str()).collect();
    assert_eq!(urls, [outer]);
}

#[test]
fn an_address_that_is_too_long_is_not_looked_at() {
    let found = |bytes: usize| {
        let url = format!("{:a<bytes$}", "https://a.example/verify?token=0123456789");
        let text = format!("Verify your address: {url}");
        let links = [(url.as_str(), "Verify your address", 0)];
        let in_text = Given {
            text: &text,
            ..Given::default()
        };
        let on_a_link = Given {
            html: Some("Verify your address"),
            links: &links,
            ..Given::default()
        };
        [in_text, on_a_link].map(|given| find(&given).links.len())
    };
    assert_eq!(found(4096), [1, 1]);
    assert_eq!(found(4097), [0, 0]);
}

#[test]
fn what_is_no_address_hides_none() {
    let url = "https://a.example/verify?token=0123456789abcdef";
    for (before, is_found) in [
        ("ftp://a.example/ ".repeat(300), true),
        (
            format!("https://b.example/{}", "?to=http://c.example/".repeat(300)),
            true,
        ),
        ("https://b.example/ ".repeat(199), true),
        ("https://b.example/ ".repeat(200), false),
    ] {
        let text = format!("{before}\n\nVerify your address: {url}");
        let found = find(&Given {
            text: &text,
            ..Given::default()
        });
        let urls: Vec<&str> = found.links.iter().map(|link| link.url.as_str()).collect();
        assert_eq!(urls, if is_found { vec![url] } else { Vec::new() });
    }
}

#[test]
fn texts_made_of_candidates_take_their_time_and_no_more() {
    for text in [
        "123456 ".repeat(100_000),
        "1-".repeat(300_000),
        "a1.".repeat(200_000),
        "code ".repeat(100_000),
        "https://".repeat(50_000),
        "://".repeat(100_000),
        "=".repeat(500_000) + "123456",
        "A1B2C3-".repeat(50_000),
    ] {
        let found = find(&Given {
            text: &text,
            ..Given::default()
        });
        assert!(found.codes.len() <= FINDINGS_MAX && found.links.len() <= FINDINGS_MAX);
    }
}

proptest! {
    #[test]
    fn any_text_has_an_answer(subject in any::<String>(), text in any::<String>(), html in any::<String>(), at in 0_usize..100) {
        let links = [("https://a.test/verify", text.as_str(), at)];
        let given = Given { subject: &subject, text: &text, html: Some(&html), links: &links };
        for found in find(&given).codes {
            prop_assert!((CONFIDENCE_MIN..=1.0).contains(&found.confidence));
        }
    }

    #[test]
    fn a_plain_code_is_found_between_any_words(code in 100_000_u32..999_999, before in "[a-z ]{0,80}", after in "[a-z ]{0,80}") {
        let text = format!("{before}\nYour verification code is {code}.\n{after}");
        prop_assert_eq!(best("", &text).map(|it| it.code), Some(code.to_string()));
    }
}

//! Addresses as tables: what is read, and what is refused by which name.

#![forbid(unsafe_code)]

use super::AddressError::*;
use super::*;
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

fn check(text: &str, expected: Result<&str, AddressError>) {
    let address = Address::parse(text);
    assert_eq!(
        address.as_ref().map(Address::as_str),
        expected.as_ref().copied(),
        "{text}"
    );
    if let Ok(address) = address {
        let whole = format!("{}@{}", address.local(), address.domain());
        assert_eq!(whole, address.as_str());
        let again = Address::parse(address.as_str()).expect("a canonical form can be read");
        assert!(again == address, "{text}: the canonical form is stable");
    }
}

#[test]
fn addresses_have_one_canonical_form() {
    for (text, canonical) in [
        ("a@b.test", "a@b.test"),
        ("A.B+c@Mx.Test.", "a.b+c@mx.test"),
        ("\"abc\"@d.test", "abc@d.test"),
        ("\"a\\bc\"@d.test", "abc@d.test"),
        ("\"a b\"@d.test", "\"a b\"@d.test"),
        ("\"a\\ b\"@d.test", "\"a b\"@d.test"),
        ("\"a\\\"b\\\\\"@d", "\"a\\\"b\\\\\"@d"),
        ("\"a..b\"@d", "\"a..b\"@d"),
        ("\"\"@d", "\"\"@d"),
        ("\"a@b\"@d", "\"a@b\"@d"),
        ("a@[127.0.0.1]", "a@[127.0.0.1]"),
        ("a@[127.000.0.01]", "a@[127.0.0.1]"),
        ("a@[IPv6:::1]", "a@[ipv6:::1]"),
        ("a@[IPv6:0:0:0:0:0:0:0:1]", "a@[ipv6:::1]"),
        ("a@[ipv6:::ffff:1.2.3.4]", "a@[ipv6:::ffff:1.2.3.4]"),
        ("a@[X400:Some/Thing]", "a@[x400:some/thing]"),
        ("!#$%&'*+-/=?^_`{|}~@d", "!#$%&'*+-/=?^_`{|}~@d"),
        ("v%x.example@ours.test", "v%x.example@ours.test"),
        ("a@1.2.3.4", "a@1.2.3.4"),
    ] {
        check(text, Ok(canonical));
    }
}

#[test]
fn what_is_no_address_is_refused_by_name() {
    for (text, why) in [
        ("", BadLocalPart),
        ("a", NoDomain),
        ("a@", NoDomain),
        ("@d", BadLocalPart),
        ("a@@d", BadDomain),
        ("a@d@e", TrailingText),
        (".a@d", BadLocalPart),
        ("a.@d", BadLocalPart),
        ("a..b@d", BadLocalPart),
        ("a b@d", BadLocalPart),
        (" a@d", BadLocalPart),
        ("a@ d", BadDomain),
        ("a@d ", TrailingText),
        ("a@-d", BadDomain),
        ("a@d-", BadDomain),
        ("a@d..", TrailingText),
        ("a@d..e", TrailingText),
        ("a@.d", BadDomain),
        ("a@d_e", TrailingText),
        ("\"a@d", BadLocalPart),
        ("\"a\"b@d", BadLocalPart),
        ("\"a\u{7}\"@d", BadLocalPart),
        ("a\0@d", BadLocalPart),
        ("a@d\0.e", TrailingText),
        ("a\r@d", BadLocalPart),
        ("a\n@d", BadLocalPart),
        ("a@[1.2.3]", BadDomain),
        ("a@[1.2.3.256]", BadDomain),
        ("a@[1.2.3.4", BadDomain),
        ("a@[1.2.3.4.5]", BadDomain),
        ("a@[IPv6:1]", BadDomain),
        ("a@[IPv6:]", BadDomain),
        ("a@[-:x]", BadDomain),
        ("a@[tag:]", BadDomain),
        ("a@[tag:a b]", BadDomain),
    ] {
        check(text, Err(why));
    }
}

#[test]
fn lengths_are_limited() {
    let local = |n| format!("{}@d.test", "a".repeat(n));
    assert!(Address::parse(local(64)).is_ok());
    check(&local(65), Err(LocalPartTooLong));
    let quoted = |n| format!("\"{}\"@d.test", " ".repeat(n));
    assert!(Address::parse(quoted(64)).is_ok());
    check(&quoted(65), Err(LocalPartTooLong));
    let label = |n| format!("a@{}.test", "d".repeat(n));
    assert!(Address::parse(label(63)).is_ok());
    check(&label(64), Err(BadDomain));

    let domain = |pairs: usize| "d.".repeat(pairs) + "d";
    assert!(Address::parse(format!("ab@{}", domain(125))).is_ok());
    check(&format!("abc@{}", domain(125)), Err(PathTooLong));
    check(&format!("a@{}", domain(128)), Err(DomainTooLong));
    assert!(is_host(domain(127).as_bytes()));
    assert!(!is_host(domain(128).as_bytes()));

    let longest = format!("<{}@{}>", "a".repeat(64), domain(94));
    assert_eq!(longest.len(), PATH_BYTES_MAX);
    assert!(forward_path(longest.as_bytes()).is_ok());
    let longer = longest.replace("d>", "dd>");
    let refused = forward_path(longer.as_bytes()).map(|_| ());
    assert_eq!(refused, Err(nom::Err::Failure(PathTooLong)));
    let routed = longest.replace('<', "<@r:");
    let refused = reverse_path(routed.as_bytes()).map(|_| ());
    assert_eq!(refused, Err(nom::Err::Failure(PathTooLong)));
}

#[test]
fn paths_lose_their_route_and_keep_their_spelling() {
    for (text, spelled, rest) in [
        ("<>", None, ""),
        ("<A@B.test>", Some("A@B.test"), ""),
        ("<@r1.test,@r2.test:U@d.> X=1", Some("U@d."), " X=1"),
        ("<\"a>b\"@d>", Some("\"a>b\"@d"), ""),
    ] {
        let (left, path) = reverse_path(text.as_bytes()).expect("a path");
        assert_eq!(left, rest.as_bytes());
        let expected = spelled.map_or(ReversePath::Null, |text| ReversePath::Address(text.into()));
        assert!(path == expected, "{text}");
    }
    for (text, why) in [
        ("", BadPath),
        ("u@d", BadPath),
        ("<<u@d>>", BadLocalPart),
        ("< u@d>", BadLocalPart),
        ("<u@d", BadPath),
        ("<u@d >", TrailingText),
        ("<u>", NoDomain),
        ("<u@>", NoDomain),
        ("<@r1:>", BadLocalPart),
        ("<@r1,:u@d>", BadPath),
        ("<@r1 :u@d>", BadPath),
        ("<@ü.test:u@d>", BadPath),
    ] {
        let refused = reverse_path(text.as_bytes()).map_err(offence);
        assert_eq!(refused.map(|_| ()), Err(why), "{text}");
    }
}

#[test]
fn postmaster_needs_no_domain() {
    for text in ["<Postmaster>", "<POSTMASTER>"] {
        let (_, recipient) = forward_path(text.as_bytes()).expect("always legal");
        assert!(recipient == Recipient::Postmaster);
    }
    let (_, recipient) = forward_path(b"<Postmaster@Mx.Test>").expect("an address");
    let expected = Address::parse("postmaster@mx.test").expect("an address");
    assert!(recipient == Recipient::Address(expected));
    assert!(forward_path(b"<>").is_err(), "only a sender may be null");
}

#[test]
fn nothing_prints_an_address() {
    let address = Address::parse("secret@d.test").expect("an address");
    let path = ReversePath::Address("secret@d.test".into());
    let shown = format!(
        "{address:?} {path:?} {:?}",
        Recipient::Address(address.clone())
    );
    assert_eq!(shown, "Address(..) ReversePath(..) Recipient(..)");
}

#[test]
fn addresses_beyond_ascii_have_one_canonical_form() {
    for (text, canonical) in [
        // Case, normalization, width, quotes.
        ("Jürgen@d.test", "jürgen@d.test"),
        ("JU\u{308}RGEN@D.test", "jürgen@d.test"),
        ("\"jürgen\"@d.test", "jürgen@d.test"),
        ("ΝΊΚΟΣ@d", "νίκοσ@d"),
        ("νίκος@d", "νίκοσ@d"),
        ("Ｕ１＋ｘ@d", "u1+x@d"),
        ("ｶﾞ@d", "ガ@d"),
        ("\u{212A}@d", "k@d"),
        ("straße@d", "straße@d"),
        ("STRASSE@d", "strasse@d"),
        ("İ@d", "i\u{307}@d"),
        ("a．b@d", "a.b@d"),
        ("\"jö rg\"@d", "\"jö rg\"@d"),
        ("\"Jö\\\" rg\"@d", "\"jö\\\" rg\"@d"),
        ("用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah"),
        ("अ@उदाहरण.परीक्षा", "अ@xn--p1b6ci4b4b3a.xn--11b5bs3a9aj6g"),
        // Domains: both forms of a label, width, other full stops, the last dot.
        ("u@bücher.test", "u@xn--bcher-kva.test"),
        ("u@BU\u{308}CHER.Test.", "u@xn--bcher-kva.test"),
        ("u@XN--Bcher-KVA.test", "u@xn--bcher-kva.test"),
        (
            "u@xn--bcher-kva.bücher.test",
            "u@xn--bcher-kva.xn--bcher-kva.test",
        ),
        ("u@ｂｕ\u{308}cher。test", "u@xn--bcher-kva.test"),
        ("u@bücher.test。", "u@xn--bcher-kva.test"),
        ("u@faß.test", "u@xn--fa-hia.test"),
        ("u@مثال.test", "u@xn--mgbh0fb.test"),
        ("\"a b<\u{338}\"@d", "\"a b\u{226E}\"@d"),
        // What is no A-label is compared as it is.
        ("u@XN--a.test", "u@xn--a.test"),
        ("u@xn--99999999.test", "u@xn--99999999.test"),
    ] {
        check(text, Ok(canonical));
    }
}

#[test]
fn what_is_no_address_beyond_ascii_is_refused_by_name() {
    for (text, why) in [
        // Nothing becomes a special character.
        ("a＠b@d", BadLocalPart),
        ("a\u{3000}b@d", BadLocalPart),
        ("a\u{37E}b@d", BadLocalPart),
        ("＂a＂@d", BadLocalPart),
        ("．a@d", BadLocalPart),
        ("a．．b@d", BadLocalPart),
        ("\"a＠b\"@d", BadLocalPart),
        ("\"a b＂\"@d", BadLocalPart),
        ("\"a b＼\"@d", BadLocalPart),
        // Nothing ends a line.
        ("a\u{85}b@d", BadLocalPart),
        ("\"a\u{2028}b\"@d", BadLocalPart),
        // Only what has A-labels is a domain.
        ("u@bü_cher.test", TrailingText),
        ("u@-ü.test", BadDomain),
        ("u@ü-.test", BadDomain),
        ("u@ü..test", TrailingText),
        ("u@。ü", BadDomain),
        ("u@ü。。", BadDomain),
        ("u@\u{AD}.test", BadDomain),
        ("u@a\u{200C}b.test", BadDomain),
        ("u@\u{301}a.test", BadDomain),
        ("u@ü＠b.test", BadDomain),
        ("u@ü／b.test", BadDomain),
        ("u@אa.test", BadDomain),
        ("u@١٢.test", BadDomain),
        ("\"<\u{338}＠\"@d", BadLocalPart),
        ("u@xn--a.ü.test", BadDomain),
        ("u@a\u{2028}.test", BadDomain),
        ("u@[ü]", BadDomain),
        ("u@[tag:ü]", BadDomain),
    ] {
        check(text, Err(why));
    }
    for (bytes, why) in [
        (&b"\xff@d"[..], BadLocalPart),
        (b"a\xc3@d", BadLocalPart),
        (b"\xed\xa0\x80@d", BadLocalPart),
        (b"\xc0\xae@d", BadLocalPart),
        (b"\"a \xf8\"@d", BadLocalPart),
        (b"u@\xfc.test", BadDomain),
        (b"u@b\xc3.test", BadDomain),
        (b"\xff@\xff", BadLocalPart),
    ] {
        assert_eq!(Address::parse(bytes), Err(why), "{bytes:?}");
        let path = [b"<", bytes, b">"].concat();
        let refused = reverse_path(&path).map(|_| ()).map_err(offence);
        assert_eq!(refused, Err(why), "{bytes:?} as a sender");
    }
}

#[test]
fn lengths_are_limited_in_octets_as_spelled_and_in_canonical_form() {
    let local = |text: &str, n| format!("{}@d.test", text.repeat(n));
    assert!(Address::parse(local("ü", 32)).is_ok());
    check(&local("ü", 33), Err(LocalPartTooLong));
    assert!(Address::parse(local("ａ", 21)).is_ok());
    check(&local("ａ", 22), Err(LocalPartTooLong));
    // U+0958 has two characters in its normal form.
    assert!(Address::parse(local("\u{958}", 10)).is_ok());
    check(&local("\u{958}", 11), Err(LocalPartTooLong));
    let foreign = format!("<{}>", local("\u{958}", 11));
    assert!(
        reverse_path(foreign.as_bytes()).is_ok(),
        "a sender's is not mapped"
    );

    // 57 of them have an A-label of 63 octets.
    let label = |n| format!("a@{}.test", "ü".repeat(n));
    let longest = Address::parse(label(57)).expect("an address");
    assert_eq!(longest.domain().len(), "xn--.test".len() + 59);
    check(&label(58), Err(BadDomain));
    let sender = format!("<{}>", label(58));
    assert!(reverse_path(sender.as_bytes()).is_err());

    // An A-label of ü is longer than it.
    let domain = |labels: usize| vec!["ü"; labels].join(".");
    assert_eq!(canonical_domain(&domain(32)).map(|it| it.len()), Ok(255));
    assert_eq!(canonical_domain(&domain(33)), Err(DomainTooLong));
    assert_eq!(canonical_domain(&domain(86)), Err(DomainTooLong));
    check(&format!("a@{}", domain(33)), Err(DomainTooLong));
    check(&format!("a@{}", domain(32)), Err(PathTooLong));
    check(
        &format!("a@{}", domain(31)),
        Ok(&format!("a@{}", vec!["xn--tda"; 31].join("."))),
    );
}

#[test]
fn a_path_remembers_whether_it_was_spelled_in_ascii() {
    for (path, is_ascii) in [
        ("<u@d.test>", true),
        ("<u@xn--bcher-kva.test>", true),
        ("<u@bücher.test>", false),
        ("<ü@d.test>", false),
        ("<ｕ@d.test>", false),
        ("<u@ｄ.test>", false),
        ("<\"u\u{212A}\"@d.test>", false),
    ] {
        let (_, recipient) = forward_path(path.as_bytes()).expect("a path");
        assert_eq!(recipient.is_ascii(), is_ascii, "{path}");
        let (_, sender) = reverse_path(path.as_bytes()).expect("a path");
        assert_eq!(sender.is_ascii(), is_ascii, "{path}");
        assert!(sender == ReversePath::Address(path[1..path.len() - 1].into()));
    }
    let [ascii, wide] = ["u@d", "ｕ@d"].map(|text| Address::parse(text).expect("an address"));
    assert!(ascii == wide, "spelling does not make another address");
    assert!(Recipient::Postmaster.is_ascii() && ReversePath::Null.is_ascii());
}

#[test]
fn people_are_shown_what_they_write() {
    for (text, shown) in [
        ("u@d.test", "u@d.test"),
        ("JÜRGEN@xn--bcher-kva.test", "jürgen@bücher.test"),
        ("u@xn--a.test", "u@xn--a.test"),
        ("u@[127.0.0.1]", "u@[127.0.0.1]"),
    ] {
        let address = Address::parse(text).expect("an address");
        assert_eq!(address.to_unicode(), shown);
    }
}

#[test]
fn hosts_are_in_ascii() {
    assert!(is_host(b"xn--bcher-kva.test"));
    assert!(!is_host("bücher.test".as_bytes()));
    assert!(!is_host(b"\xff"));
}

/// Letters that have another case, another width, marks that can be taken off; and those that have none of it.
const LETTERS: &[char] = &[
    'a', 'k', 'z', '7', '+', '-', '_', '.', 'ü', 'é', 'ß', 'σ', 'ο', 'ж', 'ガ', 'ア', '한', '用',
    'ǰ', 'ữ', 'ø',
];

const LABELS: &[(&str, &str)] = &[
    ("mx", "mx"),
    ("bücher", "xn--bcher-kva"),
    ("例え", "xn--r8jz45g"),
    ("пример", "xn--e1afmkfd"),
    ("a-7", "a-7"),
    ("test", "test"),
];

/// One choice in the spelling of a character.
fn respelled(letter: char, choice: u8) -> String {
    let wide = |it: char| match it {
        '!'..='~' => char::from_u32(u32::from(it) + 0xFEE0).unwrap_or(it),
        'ア' => '\u{FF71}',
        other => other,
    };
    let upper = |it: char| {
        let upper: String = it.to_uppercase().collect();
        // Not all letters come back: ß becomes SS.
        if upper.to_lowercase() == it.to_lowercase().to_string() {
            upper
        } else {
            it.to_string()
        }
    };
    match choice % 6 {
        0 => letter.to_string(),
        1 => upper(letter),
        2 => wide(letter).to_string(),
        3 => upper(letter).chars().map(wide).collect(),
        4 => letter.to_string().nfd().collect(),
        _ => upper(letter).nfd().collect(),
    }
}

prop_compose! {
    /// A local part that needs no quotes, as its letters.
    fn letters()(letters in prop::collection::vec(prop::sample::select(LETTERS), 1..10)) -> Vec<char> {
        let text: String = letters.into_iter().collect();
        let atoms: Vec<&str> = text.split('.').filter(|atom| !atom.is_empty()).collect();
        let text = if atoms.is_empty() { "x".to_owned() } else { atoms.join(".") };
        text.chars().collect()
    }
}

prop_compose! {
    fn spelled()(
        letters in letters(),
        labels in prop::collection::vec(prop::sample::select(LABELS), 1..4),
    )(
        choices in prop::collection::vec(any::<u8>(), letters.len()),
        label_choices in prop::collection::vec(any::<(u8, bool)>(), labels.len()),
        quoted in any::<bool>(),
        last_dot in any::<bool>(),
        letters in Just(letters),
        labels in Just(labels),
    ) -> (String, String) {
        let plain: String = letters.iter().collect();
        let domain: Vec<&str> = labels.iter().map(|(u_label, _)| *u_label).collect();
        let local: String = letters.iter().zip(choices).map(|(it, choice)| respelled(*it, choice)).collect();
        let host: Vec<String> = labels.iter().zip(label_choices).map(|((u_label, a_label), (choice, take_a))| {
            if take_a {
                return if choice % 2 == 0 { a_label.to_string() } else { a_label.to_uppercase() };
            }
            u_label.chars().map(|it| respelled(it, choice)).collect()
        }).collect();
        let quotes = if quoted { "\"" } else { "" };
        let dot = if last_dot { "." } else { "" };
        (format!("{plain}@{}", domain.join(".")), format!("{quotes}{local}{quotes}@{}{dot}", host.join(".")))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn every_spelling_of_an_address_is_that_address((address, spelling) in spelled()) {
        let canonical = Address::parse(&address).expect("an address");
        let other = Address::parse(&spelling);
        prop_assert_eq!(other.as_ref().map(Address::as_str), Ok(canonical.as_str()), "{}", spelling);
        prop_assert!(other.is_ok_and(|other| other == canonical));
        let again = Address::parse(canonical.to_unicode().as_ref()).expect("an address");
        prop_assert!(again == canonical, "what people are shown is a spelling of it");
    }

    #[test]
    fn a_canonical_form_is_its_own(text in "[a-zA-Z\"\\\\@ .ü＠ａßΣςİ\u{37E}\u{212A}\u{308}\u{345}한-]{0,12}@[a-z.üÜ。ß-]{1,8}") {
        if let Ok(address) = Address::parse(&text) {
            let again = Address::parse(address.as_str());
            prop_assert_eq!(again.as_ref().map(Address::as_str), Ok(address.as_str()));
            prop_assert!(address.domain().is_ascii() && address.local().len() <= 130);
        }
    }

    #[test]
    fn two_canonical_forms_are_two_addresses((one, _) in spelled(), (two, _) in spelled()) {
        let [one, two] = [one, two].map(|text| Address::parse(text).expect("an address"));
        prop_assert_eq!(one == two, one.as_str() == two.as_str());
    }
}

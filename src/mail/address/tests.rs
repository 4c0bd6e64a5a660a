//! Addresses as tables: what is read, and what is refused by which name.

#![forbid(unsafe_code)]

use super::AddressError::*;
use super::*;

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
        ("ü@d", NonAscii),
        ("a@ü.test", NonAscii),
        ("a@d.ü", NonAscii),
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
        ("<ü@d>", NonAscii),
    ] {
        let refused = reverse_path(text.as_bytes()).map_err(|why| offence(why, text.as_bytes()));
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

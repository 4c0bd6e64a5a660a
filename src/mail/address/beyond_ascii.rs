//! Addresses beyond ASCII (RFC 6531 section 3.3, RFC 6532) and the form in which they are compared.
//!
//! A local part is mapped as RFC 8265 section 3.3.2 maps a user name without regard to case (`UsernameCaseMapped`): width,
//! lower case, normalization form C. The other half of that profile, which characters a name may have at all and how
//! directions of writing may mix, is left out: an address is for whoever owns it to choose, and no other's mail is won by
//! one that only looks alike. A domain is mapped as UTS #46 says (without transitional processing) to A-labels.

#![forbid(unsafe_code)]

use super::AddressError;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// The one form of all spellings of a local part that is no longer quoted.
///
/// It is normalized first, so that spellings which Unicode calls the same are the same for what follows, and last,
/// because what follows takes characters apart and brings others together.
pub(super) fn local_part(plain: &str) -> String {
    plain
        .nfc()
        .map(of_common_width)
        .flat_map(char::to_lowercase)
        .map(of_one_sigma)
        .nfc()
        .collect()
}

/// Whether it may stand in a local part. Controls of the upper half and the line ends of Unicode are legal by the grammar of
/// RFC 6531, but a reader of headers may take one for the end of a line (RFC 5198 section 2 forbids them in text).
pub(super) fn is_text(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}')
}

/// A domain in A-labels and lower case, with its last dot if it had one. How long it may be is not looked at.
pub(super) fn domain_to_ascii(spelled: &str) -> Result<String, AddressError> {
    Uts46::new()
        .to_ascii(
            spelled.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore,
        )
        .map(Cow::into_owned)
        .map_err(|_| AddressError::BadDomain)
}

/// A domain in U-labels, for people; as it is if what they would read is not a spelling of it. Such a label is one that was
/// put into Punycode twice: taken apart once, it begins as an A-label and goes on as none.
pub(super) fn domain_to_unicode(domain: &str) -> Cow<'_, str> {
    let (shown, result) = Uts46::new().to_unicode(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
    );
    let is_spelling = result.is_ok() && domain_to_ascii(&shown).is_ok_and(|again| again == domain);
    if is_spelling {
        shown
    } else {
        Cow::Borrowed(domain)
    }
}

/// The width mapping of RFC 8264 section 5.2.1: a full-width or half-width form becomes the character that it is a form of
/// (the decompositions `<wide>` and `<narrow>` of the Unicode Character Database, one step of them).
fn of_common_width(form: char) -> char {
    // First and last form of a run, and what the first one stands for.
    const RUNS: [(u32, u32, u32); 13] = [
        (0x3000, 0x3000, 0x20),
        (0xFF01, 0xFF5E, 0x21),
        (0xFF5F, 0xFF60, 0x2985),
        (0xFFA0, 0xFFA0, 0x3164),
        (0xFFA1, 0xFFBE, 0x3131),
        (0xFFC2, 0xFFC7, 0x314F),
        (0xFFCA, 0xFFCF, 0x3155),
        (0xFFD2, 0xFFD7, 0x315B),
        (0xFFDA, 0xFFDC, 0x3161),
        (0xFFE0, 0xFFE1, 0xA2),
        (0xFFE8, 0xFFE8, 0x2502),
        (0xFFE9, 0xFFEC, 0x2190),
        (0xFFED, 0xFFED, 0x25A0),
    ];
    // From U+FF61 on.
    const KATAKANA: &str = "。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン\u{3099}\u{309A}";
    // From U+FFE2 on.
    const SIGNS: [char; 5] = ['\u{AC}', '\u{AF}', '\u{A6}', '\u{A5}', '\u{20A9}'];

    let code = u32::from(form);
    if code < 0x3000 {
        return form;
    }
    let common = match code {
        0xFF61..=0xFF9F => KATAKANA.chars().nth((code - 0xFF61) as usize),
        0xFFE2..=0xFFE6 => SIGNS.get((code - 0xFFE2) as usize).copied(),
        0xFFEE => Some('\u{25CB}'),
        _ => RUNS
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&code))
            .and_then(|(first, _, common)| char::from_u32(common + (code - first))),
    };
    common.unwrap_or(form)
}

/// The sigma at the end of a word is the same letter as the one within: in upper case they cannot be told apart. Where a
/// word ends is not for us to say, so the lower case of Unicode, which does, is not asked.
const fn of_one_sigma(letter: char) -> char {
    match letter {
        'ς' => 'σ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond these there are ideographs that stand for themselves, and nothing.
    fn characters() -> impl Iterator<Item = char> {
        (0..0x2_FFFF)
            .chain(0xE_0000..0xE_0200)
            .filter_map(char::from_u32)
    }

    #[test]
    fn the_width_mapping_is_a_part_of_compatibility() {
        let mut mapped = 0;
        for form in characters() {
            let common = of_common_width(form);
            mapped += usize::from(common != form);
            assert!(
                form.to_string().nfkd().eq(common.to_string().nfkd()),
                "{form:?} is not a form of {common:?}"
            );
            let is_form = matches!(u32::from(form), 0x3000 | 0xFF00..=0xFFEF);
            let has_one = !form.to_string().nfkd().eq([form]);
            assert_eq!(common != form, is_form && has_one, "{form:?}");
        }
        assert_eq!(mapped, 226, "the forms of Unicode 17");
    }

    #[test]
    fn what_is_shown_of_a_domain_is_a_spelling_of_it() {
        for (domain, shown) in [
            ("xn--bcher-kva.example", "bücher.example"),
            ("example.org", "example.org"),
            ("xn--xn--bcbc-jvt", "xn--xn--bcbc-jvt"),
        ] {
            assert_eq!(domain_to_unicode(domain), shown);
        }
    }

    #[test]
    fn what_is_mapped_is_mapped_no_further() {
        for character in characters() {
            let once = local_part(&character.to_string());
            assert_eq!(local_part(&once), once, "{character:?}");
            let around = local_part(&format!("e{character}\u{301}\u{345}x"));
            assert_eq!(local_part(&around), around, "{character:?}");
        }
    }

    #[test]
    fn what_unicode_calls_the_same_is_mapped_to_the_same() {
        for character in characters() {
            let text = format!("a{character}\u{323}");
            let expected = local_part(&text);
            for spelled in [text.nfc().collect::<String>(), text.nfd().collect()] {
                assert_eq!(local_part(&spelled), expected, "{character:?}");
            }
        }
    }

    #[test]
    fn what_ascii_comes_of_other_characters_is_known() {
        let mut special = String::new();
        for character in characters().filter(|it| !it.is_ascii() && of_common_width(*it) == *it) {
            special.extend(
                local_part(&character.to_string())
                    .chars()
                    .filter(char::is_ascii),
            );
        }
        assert_eq!(
            special, "i;`k",
            "U+0130, the Greek question mark, the Greek varia, Kelvin"
        );
    }
}

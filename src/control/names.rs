//! Addresses that mayfly makes up: easy to read aloud, hard to guess.
//!
//! Nine syllables of a consonant and a vowel, in threes: `damuki-renuza-hitepa`. Sixteen consonants
//! and four vowels make six bits a syllable, 54 bits in all. Letters that look or sound like others
//! (c, l, o, q, x, y) are left out, and there are no digits to be taken for letters. Where a hyphen begins a tag there are
//! dots in its place.

use super::random;

const CONSONANTS: &[u8; 16] = b"bdfghjkmnprstvwz";
const VOWELS: &[u8; 4] = b"aeiu";
const SYLLABLES: u32 = 9;

/// Random bits in a name.
pub(super) const NAME_BITS: u32 = SYLLABLES * 6;

const _: () = assert!(NAME_BITS >= 50 && NAME_BITS <= 64);

/// A local part that nobody will guess, and that has no tag.
pub(super) fn draw(separators: &str) -> String {
    let between = if separators.contains('-') { '.' } else { '-' };
    let mut bits = u64::from_le_bytes(random());
    let mut name = String::with_capacity(20);
    for nth in 0..SYLLABLES {
        if nth > 0 && nth % 3 == 0 {
            name.push(between);
        }
        name.push(char::from(CONSONANTS[(bits & 15) as usize]));
        name.push(char::from(VOWELS[(bits >> 4 & 3) as usize]));
        bits >>= 6;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_pronounceable_and_differ() {
        let names: HashSet<String> = (0..10_000).map(|_| draw("+")).collect();
        assert_eq!(names.len(), 10_000);
        for name in &names {
            assert_eq!(name.len(), 20, "{name}");
            assert_eq!(name.matches('-').count(), 2, "{name}");
            let letters = name.replace('-', "");
            for pair in letters.as_bytes().chunks(2) {
                assert!(CONSONANTS.contains(&pair[0]) && VOWELS.contains(&pair[1]));
            }
        }
    }

    #[test]
    fn no_name_has_a_tag() {
        let name = draw("+-");
        assert_eq!(
            (name.matches('-').count(), name.matches('.').count()),
            (0, 2)
        );
    }

    #[test]
    fn every_letter_is_as_likely_as_another() {
        let mut seen = [0_u32; 256];
        for _ in 0..4_000 {
            for letter in draw("+-").bytes() {
                seen[usize::from(letter)] += 1;
            }
        }
        for consonant in CONSONANTS {
            let count = seen[usize::from(*consonant)];
            assert!((1_900..2_600).contains(&count), "{count}");
        }
    }
}

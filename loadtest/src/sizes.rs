//! How large real mail is.
//!
//! `mail`: whole messages as they passed through a mail server, by powers of two. The shares were measured for a post to the list
//! freebsd-net of October 2002 and are passed on by J. Buchner, "Modelling realistic email traffic - email size distribution" (August
//! 2009, johannes.jakeapp.com), who found his own mail of 2009 to follow them. Their mean is 54 KiB, their median below 4 KiB: many
//! small messages, few that carry nearly all of the bytes. That is old; it is used because it says what *passed* a server, where
//! later figures say what people kept. Where operators of today speak of a mean, it is 20 to 60 KiB.

use crate::failure::Failure;
use crate::job::Size;

/// Share of the messages that are at most as large, in ten-thousandths, with that size in bytes.
const MAIL: [(u32, u64); 12] = [
    (2_353, 2 << 10),
    (4_917, 4 << 10),
    (6_760, 8 << 10),
    (7_958, 16 << 10),
    (8_536, 32 << 10),
    (9_047, 64 << 10),
    (9_330, 128 << 10),
    (9_574, 256 << 10),
    (9_724, 512 << 10),
    (9_849, 1 << 20),
    (9_996, 2 << 20),
    (10_000, 4 << 20),
];

/// Which of its classes a message is in, and how large bodies of each class are.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// Upper ends of the shares, in ten-thousandths.
    shares: Vec<u32>,
    /// Bytes of a body of each class: the middle of it.
    bytes: Vec<u64>,
}

impl Sizes {
    pub(crate) fn new(size: &Size) -> Result<Self, Failure> {
        match size {
            Size::Fixed(bytes) => Ok(Self {
                shares: vec![10_000],
                bytes: vec![*bytes],
            }),
            Size::Drawn(name) if name == "mail" => Ok(Self {
                shares: MAIL.iter().map(|(share, _)| *share).collect(),
                bytes: MAIL.iter().map(|(_, top)| top * 3 / 4).collect(),
            }),
            Size::Drawn(name) => Err(Failure::new(format!(
                "size: \"{name}\" is no distribution; there is \"mail\", or a number of bytes"
            ))),
        }
    }

    /// Bytes of the bodies, by class.
    pub(crate) fn classes(&self) -> &[u64] {
        &self.bytes
    }

    /// The class of a message. The same number always has the same: runs can be compared.
    pub(crate) fn class(&self, number: u64) -> usize {
        if self.shares.len() == 1 {
            return 0;
        }
        let drawn = u32::try_from(scattered(number) % 10_000).unwrap_or_default();
        self.shares.partition_point(|share| *share <= drawn)
    }
}

/// SplitMix64's last step: neighbours come out far apart.
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_follows_the_shares() {
        let sizes = Sizes::new(&Size::Drawn("mail".to_owned())).expect("known");
        let count = 100_000_u64;
        let mut drawn = vec![0_u64; sizes.classes().len()];
        for number in 0..count {
            drawn[sizes.class(number)] += 1;
        }
        let mut below = 0;
        for ((share, _), drawn) in MAIL.iter().zip(&drawn) {
            below += drawn;
            let (expected, got) = (f64::from(*share) / 10_000.0, below as f64 / count as f64);
            assert!((expected - got).abs() < 0.005, "{expected} {got}");
        }
        let bytes: u64 = drawn
            .iter()
            .zip(sizes.classes())
            .map(|(drawn, bytes)| drawn * bytes)
            .sum();
        let mean = bytes / count / 1024;
        assert!((48..=60).contains(&mean), "{mean} KiB");
    }

    #[test]
    fn one_size_is_always_the_same() {
        let sizes = Sizes::new(&Size::Fixed(5000)).expect("a size");
        assert_eq!(sizes.classes(), [5000]);
        assert!((0..1000).all(|number| sizes.class(number) == 0));
    }

    #[test]
    fn an_unknown_distribution_is_refused() {
        assert!(Sizes::new(&Size::Drawn("spam".to_owned())).is_err());
    }
}

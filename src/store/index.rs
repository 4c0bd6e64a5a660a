//! From a keyed hash to the place of a mailbox.

#![forbid(unsafe_code)]

use hashbrown::HashTable;

/// Below this many places a table is not made smaller.
const PLACES_MIN: usize = 64;

/// Places of mailboxes by the hash of something in them. Whether a hash belongs to what is looked for, the caller says.
///
/// Half of each hash is kept, so a table that grows reads only itself: at a million mailboxes that
/// is a pause of some milliseconds instead of a walk through all of their memory.
#[derive(Debug, Default)]
pub(super) struct Index {
    table: HashTable<Spot>,
}

#[derive(Clone, Copy, Debug)]
struct Spot {
    hash: u32,
    place: u32,
}

impl Index {
    #[cfg(test)]
    /// What one mailbox costs here at worst, in bytes: just after the table has doubled it is filled to 7/16,
    /// with a control byte for each place.
    pub(super) const SPOT_BYTES: usize = (size_of::<Spot>() + 1) * 16 / 7 + 1;

    /// The place with this hash of which `is_it` is true.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = half(hash);
        self.table
            .find(spread(hash), |spot| spot.hash == hash && is_it(spot.place))
            .map(|spot| spot.place)
    }

    /// Adds a place.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        let hash = half(hash);
        self.table
            .insert_unique(spread(hash), Spot { hash, place }, |spot| spread(spot.hash));
    }

    /// Takes a place away; says whether it was there.
    pub(super) fn remove(&mut self, hash: u64, place: u32) -> bool {
        let hash = half(hash);
        let Ok(found) = self
            .table
            .find_entry(spread(hash), |spot| spot.place == place)
        else {
            return false;
        };
        found.remove();
        if self.table.capacity() > PLACES_MIN && self.table.len() < self.table.capacity() / 8 {
            let wanted = (self.table.len() * 2).max(PLACES_MIN);
            self.table.shrink_to(wanted, |spot| spread(spot.hash));
        }
        true
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The table takes a bucket from the low bits and a mark from the high ones: multiplying by the golden
/// ratio gives both their share of the 32 bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hash_may_lead_to_several_places() {
        let mut index = Index::default();
        index.insert(7 << 32, 1);
        index.insert(7 << 32, 2);
        assert_eq!(index.find(7 << 32, |place| place == 2), Some(2));
        assert!(index.remove(7 << 32, 2));
        assert!(!index.remove(7 << 32, 2));
        assert_eq!(index.find(7 << 32, |_| true), Some(1));
        assert_eq!(index.find(8 << 32, |_| true), None);
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let hash = |place: u32| u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = Index::default();
        for place in 0..1_000_000 {
            index.insert(hash(place), place);
        }
        for place in 1..1_000_000 {
            assert!(index.remove(hash(place), place));
        }
        assert_eq!(index.len(), 1);
        assert!(index.table.capacity() <= 4 * PLACES_MIN);
        assert_eq!(index.find(hash(0), |place| place == 0), Some(0));
    }
}

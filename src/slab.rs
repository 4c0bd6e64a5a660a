//! Values at numbered places that are used again.
//!
//! A place is found in O(1). Its number comes with a generation, so that the key of a value that
//! is gone never finds the next one there. Values stand in pages; the lowest page with room is
//! filled first and an empty page is given back, so a burst does not keep its memory for ever.

#![forbid(unsafe_code)]

use std::fmt;

/// Places on a page.
const PAGE_SLOTS: usize = 1024;

/// The end of a page's list of free places.
const NO_SLOT: u32 = u32::MAX;

/// Where a value stands, and which value of those that stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// Counts the insertions into the slab and wraps: a key would have to be kept through 2^32 of
    /// them to find a stranger.
    pub generation: u32,
}

/// Values at numbered places.
pub struct Slab<T> {
    pages: Vec<Option<Page<T>>>,
    /// A bit for each page: whether it has room (an absent page has).
    open: Vec<u64>,
    /// No word of `open` before this one has a bit set.
    first_open: usize,
    /// The page that became empty last, kept so that a count that swings around a page's end
    /// does not allocate each time.
    spare: Option<Page<T>>,
    generation: u32,
    len: usize,
}

struct Page<T> {
    /// Grows up to [`PAGE_SLOTS`], its capacity from the start.
    slots: Vec<Slot<T>>,
    free: u32,
    live: u32,
}

struct Slot<T> {
    /// The generation of the value, or, in a free place, the next free one.
    tag: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// What a value costs here, in bytes, itself included.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// An empty slab. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pages: Vec::new(),
            open: Vec::new(),
            first_open: 0,
            spare: None,
            generation: 0,
            len: 0,
        }
    }

    /// How many values stand here.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places for which memory is held now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let pages = self.pages.iter().flatten().count() + usize::from(self.spare.is_some());
        pages * PAGE_SLOTS
    }

    /// Puts a value in the lowest page that has room.
    ///
    /// # Panics
    /// When 2^32 values stand here, which no memory holds.
    pub fn insert(&mut self, value: T) -> Key {
        let number = self.page_with_room();
        let spare = &mut self.spare;
        let page =
            self.pages[number].get_or_insert_with(|| spare.take().unwrap_or_else(|| Page::new()));
        self.generation = self.generation.wrapping_add(1);
        let slot = page.insert(value, self.generation);
        if page.is_full() {
            self.open[number / 64] &= !(1 << (number % 64));
        }
        self.len += 1;
        let index = u32::try_from(number * PAGE_SLOTS).expect("fewer than 2^32 values") + slot;
        Key {
            index,
            generation: self.generation,
        }
    }

    /// The value of this key, if it is still here.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slot(key.index)?;
        slot.value.as_ref().filter(|_| slot.tag == key.generation)
    }

    /// The value of this key, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slot_mut(key.index)?;
        slot.value.as_mut().filter(|_| slot.tag == key.generation)
    }

    /// The value that stands at `index` now.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<&T> {
        self.slot(index)?.value.as_ref()
    }

    /// The value that stands at `index` now, to be changed.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot_mut(index)?.value.as_mut()
    }

    /// The key of the value that stands at `index` now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slot(index)?;
        slot.value.as_ref().map(|_| Key {
            index,
            generation: slot.tag,
        })
    }

    /// Takes the value out, if it is still here.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (number, slot) = split(key.index);
        let page = self.pages[number].as_mut()?;
        let value = page.remove(slot)?;
        if page.live == 0 {
            self.spare = self.pages[number].take();
        }
        self.open[number / 64] |= 1 << (number % 64);
        self.first_open = self.first_open.min(number / 64);
        self.len -= 1;
        Some(value)
    }

    /// All values with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let slots = page.as_ref().map_or(&[][..], |page| &page.slots);
            slots.iter().enumerate().filter_map(move |(slot, content)| {
                let index = u32::try_from(number * PAGE_SLOTS + slot).ok()?;
                content.value.as_ref().map(|value| (index, value))
            })
        })
    }

    /// All values, taken out.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        let pages = self.pages.into_iter().flatten();
        pages.flat_map(|page| page.slots.into_iter().filter_map(|slot| slot.value))
    }

    /// The lowest page with room. Looks at one word for each 65,536 places at most.
    fn page_with_room(&mut self) -> usize {
        while let Some(word) = self.open.get(self.first_open) {
            let page = self.first_open * 64 + word.trailing_zeros() as usize;
            if *word != 0 && page < self.pages.len() {
                return page;
            }
            if *word != 0 {
                break;
            }
            self.first_open += 1;
        }
        let page = self.pages.len();
        self.pages.push(None);
        self.open.resize(page / 64 + 1, 0);
        self.open[page / 64] |= 1 << (page % 64);
        self.first_open = page / 64;
        page
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (number, slot) = split(index);
        self.pages.get(number)?.as_ref()?.slots.get(slot)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let (number, slot) = split(index);
        self.pages.get_mut(number)?.as_mut()?.slots.get_mut(slot)
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slab({} values)", self.len)
    }
}

impl<T> Page<T> {
    fn new() -> Self {
        Self {
            slots: Vec::with_capacity(PAGE_SLOTS),
            free: NO_SLOT,
            live: 0,
        }
    }

    const fn is_full(&self) -> bool {
        self.live as usize == PAGE_SLOTS
    }

    /// Needs a page that is not full. Returns the place on the page.
    fn insert(&mut self, value: T, generation: u32) -> u32 {
        self.live += 1;
        let content = Slot {
            tag: generation,
            value: Some(value),
        };
        if self.free == NO_SLOT {
            self.slots.push(content);
            // A page has 1024 places.
            return (self.slots.len() - 1) as u32;
        }
        let slot = self.free;
        self.free = self.slots[slot as usize].tag;
        self.slots[slot as usize] = content;
        slot
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let content = self.slots.get_mut(slot)?;
        let value = content.value.take()?;
        content.tag = self.free;
        self.free = slot as u32;
        self.live -= 1;
        Some(value)
    }
}

const fn split(index: u32) -> (usize, usize) {
    (index as usize / PAGE_SLOTS, index as usize % PAGE_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_old_key_never_finds_the_next_value() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index, "the place is used again");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..1_000_000).map(|n| slab.insert(n)).collect();
        for key in &keys[1..] {
            slab.remove(*key);
        }
        assert_eq!(slab.len(), 1);
        assert!(slab.capacity() <= 2 * PAGE_SLOTS, "{}", slab.capacity());
        for n in 0..5000 {
            assert!(slab.insert(n).index < 5001, "low places are filled first");
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..6000)) {
            let mut slab = Slab::new();
            let mut model: BTreeMap<u32, (Key, usize)> = BTreeMap::new();
            for (number, (insert, pick)) in steps.into_iter().enumerate() {
                if insert || model.is_empty() {
                    let key = slab.insert(number);
                    prop_assert!(model.insert(key.index, (key, number)).is_none());
                } else {
                    let at = *model.keys().nth(pick.index(model.len())).expect("in range");
                    let (key, value) = model.remove(&at).expect("just seen");
                    prop_assert_eq!(slab.remove(key), Some(value));
                    prop_assert_eq!(slab.get(key), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            let held: Vec<(u32, usize)> = slab.iter().map(|(at, value)| (at, *value)).collect();
            let wanted: Vec<(u32, usize)> = model.iter().map(|(at, (_, value))| (*at, *value)).collect();
            prop_assert_eq!(held, wanted);
        }
    }
}

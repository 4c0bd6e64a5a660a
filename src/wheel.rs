//! A timer wheel: whoever waits costs nothing until its time has come.
//!
//! Time is cut into ticks of 2^17 microseconds (131 ms). Eight levels of 64 slots each hold all
//! of it: a slot of level 0 is one tick, a slot of level 1 is 64 ticks, and so on. A timer stands
//! on the lowest level whose block of slots contains both it and the wheel's present; when the
//! present reaches its slot it moves to a lower level, eight times at most in its life. Each slot
//! is a doubly linked list threaded through a slab, so a timer comes and goes in O(1), and a
//! bitmap for each level finds the next occupied slot without a walk through empty time.
//!
//! A deadline is rounded up to a tick: nothing rings early, and nothing later than one tick after
//! its deadline, if the wheel is asked in time.

#![forbid(unsafe_code)]

use crate::clock::Instant;
use crate::slab::{Key, Slab};
use std::fmt;
use std::num::NonZeroU16;

/// A tick is 2 to this power microseconds.
const TICK_BITS: u32 = 17;

/// How late a timer may ring when the wheel is asked at its [`Wheel::next_deadline`], in
/// microseconds.
pub const TICK_MICROS: u64 = 1 << TICK_BITS;

/// A level has 2 to this power slots, which is as many as a bitmap has bits.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Enough for any instant: 8 x 6 bits hold the 47 bits of the last tick, rounded up.
const LEVELS: usize = 8;
const _: () = assert!(SLOT_BITS as usize * LEVELS > (64 - TICK_BITS) as usize);

/// Names a timer. It is of no use once the timer has rung or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey(Key);

/// Timers, each with a value that it hands out when it rings.
pub struct Wheel<T> {
    nodes: Slab<Node<T>>,
    /// The first node of each slot, level by level.
    heads: [Option<Link>; LEVELS * SLOTS],
    /// For each level, which slots are not empty.
    occupied: [u64; LEVELS],
    /// The tick up to which everything has rung.
    elapsed: u64,
}

/// A place in the slab, counted from 1 so that "none" needs no room.
type Link = std::num::NonZeroU32;

struct Node<T> {
    deadline: Instant,
    value: T,
    previous: Option<Link>,
    next: Option<Link>,
    /// Level and slot, counted from 1.
    place: NonZeroU16,
}

impl<T> Wheel<T> {
    /// What a timer costs, in bytes.
    pub const TIMER_BYTES: usize = Slab::<Node<T>>::SLOT_BYTES;

    /// An empty wheel whose present is the origin of time.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            nodes: Slab::new(),
            heads: [None; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            elapsed: 0,
        }
    }

    /// How many timers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Timers for which memory is held now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// Sets a timer. One whose deadline has passed rings at the next opportunity.
    pub fn insert(&mut self, deadline: Instant, value: T) -> TimerKey {
        let place = self.place_of(deadline);
        let key = self.nodes.insert(Node {
            deadline,
            value,
            previous: None,
            next: None,
            place,
        });
        self.link(key.index, place);
        TimerKey(key)
    }

    /// Takes a timer away; `None` when it has rung or was removed before.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.nodes.get(key.0)?;
        self.unlink(key.0.index);
        self.nodes.remove(key.0).map(|node| node.value)
    }

    /// When a timer rings; `None` when it has rung or was removed.
    #[must_use]
    pub fn deadline_of(&self, key: TimerKey) -> Option<Instant> {
        self.nodes.get(key.0).map(|node| node.deadline)
    }

    /// Nothing rings before then, and asking then moves the wheel on. `None` when there is no
    /// timer.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_slot()
            .map(|(tick, _)| Instant::from_micros(tick.saturating_mul(TICK_MICROS)))
    }

    /// Takes the next timer that is due. Each timer that rings or moves to a lower level takes one
    /// from `work`; at 0 the answer is `None` although more may be due.
    pub fn pop(&mut self, now: Instant, work: &mut usize) -> Option<T> {
        let present = now.as_micros() >> TICK_BITS;
        while let Some((tick, place)) = self.next_slot() {
            if tick > present {
                break;
            }
            if *work == 0 {
                return None;
            }
            *work -= 1;
            self.elapsed = self.elapsed.max(tick);
            let Some(index) = self.first(place) else {
                unreachable!("an occupied slot has a first node")
            };
            if level_of(place) == 0 {
                return self.take(index, now);
            }
            self.lower(index);
        }
        // Nothing stands between `elapsed` and the present, so the wheel may turn that far at once.
        self.elapsed = self.elapsed.max(present);
        None
    }

    /// Every value that has not been handed out, whenever it was to ring.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.nodes.into_values().map(|node| node.value)
    }

    /// Hands what is due to `ring`, in at most `work_max` steps; says whether more is due.
    pub fn advance(&mut self, now: Instant, work_max: usize, mut ring: impl FnMut(T)) -> bool {
        let mut work = work_max;
        while let Some(value) = self.pop(now, &mut work) {
            ring(value);
        }
        self.next_deadline().is_some_and(|due| due <= now)
    }

    /// The next occupied slot: the first tick that it stands for (not before the present) and its
    /// place. Where two begin with the same tick the higher level comes first, because it holds
    /// timers of that tick too.
    fn next_slot(&self) -> Option<(u64, NonZeroU16)> {
        let mut best: Option<(u64, NonZeroU16)> = None;
        for (level, slots) in self.occupied.iter().enumerate() {
            if *slots == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let current = (self.elapsed >> shift) as u32 & (SLOTS as u32 - 1);
            debug_assert_eq!(*slots & ((1 << current) - 1), 0, "no timer is left behind");
            let slot = slots.trailing_zeros();
            let block = self.elapsed >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
            let tick = (block | u64::from(slot) << shift).max(self.elapsed);
            if best.is_none_or(|(earliest, _)| tick <= earliest) {
                best = Some((tick, place(level, slot as usize)));
            }
        }
        best
    }

    /// The slot for a deadline, as seen from the present.
    fn place_of(&self, deadline: Instant) -> NonZeroU16 {
        let tick = deadline.as_micros().div_ceil(TICK_MICROS).max(self.elapsed);
        let differing = tick ^ self.elapsed;
        let level = (63 - (differing | 1).leading_zeros()) / SLOT_BITS;
        let slot = (tick >> (SLOT_BITS * level)) as usize & (SLOTS - 1);
        place(level as usize, slot)
    }

    /// Rings.
    fn take(&mut self, index: u32, now: Instant) -> Option<T> {
        self.unlink(index);
        let key = self.nodes.key_at(index)?;
        let node = self.nodes.remove(key)?;
        debug_assert!(node.deadline <= now, "nothing rings early");
        Some(node.value)
    }

    /// Moves a timer whose slot has come to the level where it belongs now.
    fn lower(&mut self, index: u32) {
        let Some(deadline) = self.nodes.at(index).map(|node| node.deadline) else {
            return;
        };
        self.unlink(index);
        let place = self.place_of(deadline);
        self.link(index, place);
    }

    fn first(&self, place: NonZeroU16) -> Option<u32> {
        self.heads[slot_of(place)].map(index_of)
    }

    /// Puts a node that stands in no list at the head of a slot's.
    fn link(&mut self, index: u32, place: NonZeroU16) {
        let head = self.heads[slot_of(place)].replace(link_to(index));
        if let Some(node) = self.nodes.at_mut(index) {
            node.place = place;
            node.previous = None;
            node.next = head;
        }
        if let Some(behind) = head.and_then(|link| self.nodes.at_mut(index_of(link))) {
            behind.previous = Some(link_to(index));
        }
        self.occupied[level_of(place)] |= 1 << (slot_of(place) % SLOTS);
    }

    fn unlink(&mut self, index: u32) {
        let Some(node) = self.nodes.at(index) else {
            return;
        };
        let (previous, next, place) = (node.previous, node.next, node.place);
        if let Some(after) = next.and_then(|link| self.nodes.at_mut(index_of(link))) {
            after.previous = previous;
        }
        match previous.and_then(|link| self.nodes.at_mut(index_of(link))) {
            Some(before) => before.next = next,
            None => self.heads[slot_of(place)] = next,
        }
        if self.heads[slot_of(place)].is_none() {
            self.occupied[level_of(place)] &= !(1 << (slot_of(place) % SLOTS));
        }
    }
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wheel({} timers)", self.len())
    }
}

fn place(level: usize, slot: usize) -> NonZeroU16 {
    // At most 8 x 64.
    NonZeroU16::MIN.saturating_add((level * SLOTS + slot) as u16)
}

fn slot_of(place: NonZeroU16) -> usize {
    usize::from(place.get()) - 1
}

fn level_of(place: NonZeroU16) -> usize {
    slot_of(place) / SLOTS
}

fn link_to(index: u32) -> Link {
    Link::MIN.saturating_add(index)
}

fn index_of(link: Link) -> u32 {
    link.get() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn everybody_who_waits_can_be_called_at_once() {
        let mut wheel = Wheel::new();
        for secs in [1, 5, 100_000] {
            wheel.insert(Instant::from_secs(secs), secs);
        }
        wheel.advance(Instant::from_secs(2), 10, |_| ());
        let mut left: Vec<u64> = wheel.into_values().collect();
        left.sort_unstable();
        assert_eq!(left, [5, 100_000]);
    }

    #[test]
    fn a_timer_is_small() {
        assert_eq!(Wheel::<u32>::TIMER_BYTES, 32);
    }

    #[test]
    fn nothing_rings_early_and_nothing_a_tick_late() {
        for micros in [0, 1, TICK_MICROS - 1, TICK_MICROS, 86_400_000_001, 1 << 50] {
            let mut wheel = Wheel::new();
            let deadline = Instant::from_micros(micros);
            wheel.insert(deadline, ());
            let mut rung = 0;
            if micros > 0 {
                let before = Instant::from_micros(micros - 1);
                assert!(!wheel.advance(before, 100, |()| rung += 1));
                assert_eq!(rung, 0, "early for {micros}");
            }
            let after = Instant::from_micros(micros + TICK_MICROS);
            assert!(!wheel.advance(after, 100, |()| rung += 1));
            assert_eq!(rung, 1, "late for {micros}");
            assert!(wheel.is_empty());
        }
    }

    #[test]
    fn the_far_end_of_time_is_a_deadline_too() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(Instant::from_micros(u64::MAX), ());
        assert!(!wheel.advance(secs(1 << 30), 100, |()| panic!("early")));
        assert_eq!(wheel.deadline_of(key), Some(Instant::from_micros(u64::MAX)));
        assert_eq!(wheel.remove(key), Some(()));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn an_idle_year_takes_few_steps() {
        let mut wheel = Wheel::new();
        wheel.insert(secs(365 * 86_400), "next year");
        let (mut steps, mut rung) = (0, None);
        while rung.is_none() {
            let due = wheel.next_deadline().expect("a timer is set");
            wheel.advance(due, 1, |value| rung = Some((value, due)));
            steps += 1;
        }
        assert!(steps <= LEVELS, "{steps} steps");
        assert!(rung.is_some_and(|(_, at)| at >= secs(365 * 86_400)));
    }

    #[test]
    fn work_is_bounded_and_goes_on_where_it_stopped() {
        let mut wheel = Wheel::new();
        for n in 0..1000 {
            wheel.insert(secs(5000), n);
        }
        let (mut rung, mut calls) = (Vec::new(), 1);
        while wheel.advance(secs(6000), 10, |n| rung.push(n)) {
            assert!(rung.len() <= calls * 10);
            calls += 1;
        }
        rung.sort_unstable();
        assert_eq!(rung, (0..1000).collect::<Vec<_>>());
        assert!(calls <= 1000 * LEVELS / 10 + 1, "{calls} calls");
    }

    #[test]
    fn a_burst_of_a_million_gives_its_memory_back() {
        let mut wheel = Wheel::new();
        let kept = wheel.insert(secs(1_000_000), 0);
        for n in 1..1_000_000_u64 {
            wheel.insert(Instant::from_micros(n * 3_600), n);
        }
        let mut rung = 0;
        wheel.advance(secs(3601), usize::MAX, |_| rung += 1);
        assert_eq!((rung, wheel.len()), (999_999, 1));
        assert!(wheel.capacity() < 4096, "{}", wheel.capacity());
        assert!(wheel.deadline_of(kept).is_some());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(prop::sample::Index),
        Advance(u64, usize),
        Jump,
    }

    /// Lengths of time of every order of magnitude, up to some days.
    fn span() -> impl Strategy<Value = u64> {
        (0..39_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => span().prop_map(Step::Insert),
            2 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => (span(), 0..20_usize).prop_map(|(by, work)| Step::Advance(by, work)),
            1 => Just(Step::Jump),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn it_rings_as_an_ordered_map_does(start in span(), steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut model: BTreeMap<usize, (u64, TimerKey)> = BTreeMap::new();
            let mut now = start;
            wheel.advance(Instant::from_micros(now), 1, |_: usize| ());
            for (number, step) in steps.into_iter().enumerate() {
                let mut work = usize::MAX;
                match step {
                    Step::Insert(after) => {
                        let key = wheel.insert(Instant::from_micros(now + after), number);
                        model.insert(number, (now + after, key));
                    }
                    Step::Remove(pick) => {
                        if let Some(id) = model.keys().nth(pick.index(model.len().max(1))).copied() {
                            let (deadline, key) = model.remove(&id).expect("just seen");
                            prop_assert_eq!(wheel.deadline_of(key), Some(Instant::from_micros(deadline)));
                            prop_assert_eq!(wheel.remove(key), Some(id));
                            prop_assert_eq!(wheel.remove(key), None);
                        }
                    }
                    Step::Advance(by, limit) => {
                        now += by;
                        work = limit;
                    }
                    Step::Jump => {
                        if let Some(due) = wheel.next_deadline() {
                            let earliest = model.values().map(|(deadline, _)| *deadline).min();
                            prop_assert!(earliest.is_some_and(|deadline| due.as_micros() < deadline.max(now) + TICK_MICROS));
                            now = now.max(due.as_micros());
                        }
                    }
                }
                let mut rung = Vec::new();
                let more = wheel.advance(Instant::from_micros(now), work, |id| rung.push(id));
                for id in rung {
                    let (deadline, key) = model.remove(&id).expect("rings once");
                    prop_assert!(deadline <= now, "early");
                    prop_assert_eq!(wheel.deadline_of(key), None);
                }
                if !more {
                    prop_assert!(model.values().all(|(deadline, _)| deadline + TICK_MICROS > now), "late");
                }
                prop_assert_eq!(wheel.len(), model.len());
                prop_assert_eq!(wheel.next_deadline().is_none(), model.is_empty());
            }
        }
    }
}

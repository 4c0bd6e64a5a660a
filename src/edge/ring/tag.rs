//! What the ring writes on an operation, to know its completion again.

/// What an operation was, in the top byte of its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Bell,
    Cancel,
    Close,
    Receive,
    Send,
}

/// Operation, generation and slot (or listener) of a completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) operation: Operation,
    pub(super) generation: u32,
    pub(super) index: u32,
}

/// Generations wrap here: 24 bits stand in a tag.
pub(super) const GENERATIONS: u32 = 1 << 24;

impl Tag {
    pub(super) const fn pack(self) -> u64 {
        (self.operation as u64) << 56 | (self.generation as u64) << 32 | self.index as u64
    }

    #[allow(clippy::cast_possible_truncation)] // Taking fields out of a packed word.
    pub(super) const fn unpack(word: u64) -> Option<Self> {
        let operation = match word >> 56 {
            1 => Operation::Accept,
            2 => Operation::Bell,
            3 => Operation::Cancel,
            4 => Operation::Close,
            5 => Operation::Receive,
            6 => Operation::Send,
            _ => return None,
        };
        Some(Self {
            operation,
            generation: (word >> 32) as u32 & (GENERATIONS - 1),
            index: word as u32,
        })
    }
}

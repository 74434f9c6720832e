//! The ways to damage an object.

use bytes::Bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    Truncate,
    Empty,
    Delete,
    /// Replaced by a good object of the same kind: of a later session, or of another vault.
    Swap,
    /// Replaced by an older good object of the same kind; for what a vault has once, by that of an
    /// earlier vault with the same id and key.
    Replay,
}

pub(crate) const DAMAGES: [Damage; 8] = [
    Damage::FlipFirst,
    Damage::FlipMiddle,
    Damage::FlipLast,
    Damage::Truncate,
    Damage::Empty,
    Damage::Delete,
    Damage::Swap,
    Damage::Replay,
];

impl Damage {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::FlipFirst => "bit flip, first byte",
            Self::FlipMiddle => "bit flip, middle",
            Self::FlipLast => "bit flip, last byte",
            Self::Truncate => "truncate by a byte",
            Self::Empty => "truncate to nothing",
            Self::Delete => "delete",
            Self::Swap => "swap",
            Self::Replay => "replay",
        }
    }

    /// What the storage holds afterwards; `None`: nothing.
    pub(crate) fn inflict(self, good: &Bytes, later: &Bytes, older: &Bytes) -> Option<Bytes> {
        let mut body = good.to_vec();
        let (middle, last) = (body.len() / 2, body.len() - 1);
        match self {
            Self::FlipFirst => body[0] ^= 1,
            Self::FlipMiddle => body[middle] ^= 0x40,
            Self::FlipLast => body[last] ^= 0x80,
            Self::Truncate => body.truncate(last),
            Self::Empty => body.clear(),
            Self::Delete => return None,
            Self::Swap => return Some(later.clone()),
            Self::Replay => return Some(older.clone()),
        }
        Some(body.into())
    }
}

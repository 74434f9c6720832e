//! Ids of what a vault keeps, and where it lies.

use std::fmt;
use std::str::FromStr;

use tresor_model::NodeRef;

use crate::error::{Error, Result};

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `2 * N` lower-case hex digits.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $part:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                parse_hex(text).map(Self).ok_or(Error::malformed($part))
            }
        }
    };
}

hex_id!(
    /// A chunk: the keyed BLAKE3 hash of its plain bytes.
    ChunkId, 32, "chunk id"
);
hex_id!(
    /// A manifest node: the keyed BLAKE3 hash of its content, without its location hints.
    NodeId, 32, "node id"
);
hex_id!(
    /// A pack: 12 random bytes, then the number of the key that seals it, big-endian.
    ///
    /// With the number inside, a location alone says which key opens it.
    PackId, 16, "pack id"
);
hex_id!(
    /// A deduplication domain: chunks are shared within one, never between two. All zero is the
    /// domain that a vault begins with.
    DomainId, 16, "domain id"
);

impl PackId {
    /// An id from fresh random bytes and the key's number.
    #[must_use]
    pub fn new(random: [u8; 12], epoch: u32) -> Self {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&random);
        bytes[12..].copy_from_slice(&epoch.to_be_bytes());
        Self(bytes)
    }

    /// The number of the key that seals the pack.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        u32::from_be_bytes([self.0[12], self.0[13], self.0[14], self.0[15]])
    }
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameLocation {
    /// The pack.
    pub pack: PackId,
    /// First byte within the pack.
    pub offset: u32,
    /// Stored length in bytes, tag included.
    pub length: u32,
}

/// Where a chunk or a node lies: a part of an opened frame. A hint: the id is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The frame.
    pub frame: FrameLocation,
    /// First byte within the opened frame.
    pub at: u32,
    /// Length in bytes.
    pub size: u32,
}

/// A node's id and location as the model stores them.
#[must_use]
pub fn node_ref(id: &NodeId, location: &Location) -> NodeRef {
    NodeRef {
        id: id.to_string(),
        pack: location.frame.pack.to_string(),
        offset: location.frame.offset,
        length: location.frame.length,
        at: location.at,
        size: location.size,
    }
}

/// The reverse of [`node_ref`].
///
/// # Errors
/// When an id is not of its form.
pub fn parse_node_ref(node: &NodeRef) -> Result<(NodeId, Location)> {
    let location = Location {
        frame: FrameLocation {
            pack: node.pack.parse()?,
            offset: node.offset,
            length: node.length,
        },
        at: node.at,
        size: node.size,
    };
    Ok((node.id.parse()?, location))
}

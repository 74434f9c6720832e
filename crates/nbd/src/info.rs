//! What the server says of an export, judged before it is believed.

use crate::error::Violation;

/// Largest read sent in one request, whatever the server allows: the size every server is expected to take.
pub const MAX_READ: u32 = 32 << 20;

/// Requests are kept to this alignment when the server names none: the protocol's advice for widest compatibility.
pub const DEFAULT_MIN_BLOCK: u32 = 512;
/// Preferred request size when the server names none.
pub const DEFAULT_PREFERRED_BLOCK: u32 = 4096;

/// Bits of the transmission flags this client looks at.
pub(crate) mod transmission {
    pub(crate) const HAS_FLAGS: u16 = 1 << 0;
    pub(crate) const READ_ONLY: u16 = 1 << 1;
    pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
}

/// Limits on the size and alignment of requests, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths must be multiples of this; a power of two.
    pub minimum: u32,
    /// Requests of multiples of this are the most efficient; a power of two.
    pub preferred: u32,
    /// Largest payload of one request; a multiple of `minimum`.
    pub maximum: u32,
    /// Whether the server named these limits (else they are the protocol's defaults).
    pub advertised: bool,
}

impl Default for BlockSizes {
    fn default() -> Self {
        Self {
            minimum: DEFAULT_MIN_BLOCK,
            preferred: DEFAULT_PREFERRED_BLOCK,
            maximum: MAX_READ,
            advertised: false,
        }
    }
}

impl BlockSizes {
    /// Accepts the limits a server names, if they keep the rules the protocol sets for them.
    pub(crate) fn from_wire(minimum: u32, preferred: u32, maximum: u32) -> Result<Self, Violation> {
        if !minimum.is_power_of_two() || minimum > 64 << 10 {
            return Err(Violation::new(format!("minimum block size {minimum}")));
        }
        if !preferred.is_power_of_two() || preferred < minimum {
            return Err(Violation::new(format!("preferred block size {preferred}")));
        }
        let unlimited = maximum == u32::MAX;
        if maximum < minimum || (!unlimited && !maximum.is_multiple_of(minimum)) {
            return Err(Violation::new(format!("maximum block size {maximum}")));
        }
        Ok(Self {
            minimum,
            preferred,
            maximum,
            advertised: true,
        })
    }

    /// Largest read to send in one request: a positive multiple of the minimum.
    pub(crate) fn read_step(&self) -> u32 {
        let capped = self.maximum.min(MAX_READ);
        capped - capped % self.minimum
    }
}

/// What the server said of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportInfo {
    /// Size in bytes.
    pub size: u64,
    /// The server refuses writes.
    pub read_only: bool,
    /// Several connections see one consistent export.
    pub can_multi_conn: bool,
    /// Limits on requests.
    pub block_sizes: BlockSizes,
}

impl ExportInfo {
    pub(crate) fn from_wire(
        size: u64,
        flags: u16,
        block_sizes: BlockSizes,
    ) -> Result<Self, Violation> {
        // Signed 64-bit offsets are what every system below has; beyond them sums could also wrap.
        if i64::try_from(size).is_err() {
            return Err(Violation::new(format!("export size {size}")));
        }
        if flags & transmission::HAS_FLAGS == 0 {
            return Err(Violation::new(
                "transmission flags without the mark that they are present",
            ));
        }
        Ok(Self {
            size,
            read_only: flags & transmission::READ_ONLY != 0,
            can_multi_conn: flags & transmission::CAN_MULTI_CONN != 0,
            block_sizes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_that_break_the_rules_are_refused() {
        for (minimum, preferred, maximum) in [
            (0, 4096, 4096),
            (3, 4096, 4096),
            (1 << 17, 1 << 17, 1 << 17),
            (512, 256, 4096),
            (512, 4096, 513),
            (512, 4096, 0),
        ] {
            assert!(
                BlockSizes::from_wire(minimum, preferred, maximum).is_err(),
                "{minimum} {preferred} {maximum}"
            );
        }
    }

    #[test]
    fn an_unlimited_maximum_still_gives_bounded_reads() {
        let sizes = BlockSizes::from_wire(512, 4096, u32::MAX).unwrap();
        assert_eq!(sizes.read_step(), MAX_READ);
    }

    #[test]
    fn a_size_beyond_signed_offsets_is_refused() {
        assert!(ExportInfo::from_wire(1 << 63, 1, BlockSizes::default()).is_err());
        assert!(ExportInfo::from_wire((1 << 63) - 1, 1, BlockSizes::default()).is_ok());
    }
}

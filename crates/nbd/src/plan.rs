//! Which requests to send for the bytes a caller wants. Pure.

use crate::info::ExportInfo;

/// Longest block status window of one request when lengths have 32 bits: the largest that is aligned for every server.
const MAX_STATUS_COMPACT: u64 = u32::MAX as u64 & !0xffff;

/// Part of the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Window {
    pub(crate) fn end(self) -> u64 {
        self.offset + self.length
    }

    /// The window, if it lies within an export of `size` bytes.
    pub(crate) fn within(offset: u64, length: u64, size: u64) -> Option<Self> {
        let end = offset.checked_add(length)?;
        (end <= size).then_some(Self { offset, length })
    }

    /// The smallest aligned window around this one. A tail of the export that is no whole block stays as it is.
    pub(crate) fn aligned(self, info: &ExportInfo) -> Self {
        let block = u64::from(info.block_sizes.minimum);
        let offset = self.offset - self.offset % block;
        let end = self.end().next_multiple_of(block).min(info.size);
        Self {
            offset,
            length: end - offset,
        }
    }
}

/// One read request, and which part of its answer the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadPiece {
    pub(crate) request: Window,
    /// Bytes to leave out at the front of the answer.
    pub(crate) skip: usize,
    /// Bytes to keep after them.
    pub(crate) keep: usize,
}

/// Splits a read at the limits of the server; the kept parts in order are exactly `window`.
pub(crate) fn plan_read(window: Window, info: &ExportInfo) -> Vec<ReadPiece> {
    if window.length == 0 {
        return Vec::new();
    }
    let whole = window.aligned(info);
    let step = u64::from(info.block_sizes.read_step());
    let mut pieces = Vec::new();
    let mut at = whole.offset;
    while at < whole.end() {
        let end = (at + step).min(whole.end());
        let (keep_from, keep_to) = (at.max(window.offset), end.min(window.end()));
        pieces.push(ReadPiece {
            request: Window {
                offset: at,
                length: end - at,
            },
            skip: small(keep_from - at),
            keep: small(keep_to - keep_from),
        });
        at = end;
    }
    pieces
}

/// At most [`crate::info::MAX_READ`], so that it fits everywhere.
fn small(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The window to ask block status for: aligned, and cut to what one request can say.
pub(crate) fn plan_status(window: Window, info: &ExportInfo, wide: bool) -> Window {
    let aligned = window.aligned(info);
    let length = if wide {
        aligned.length
    } else {
        aligned.length.min(MAX_STATUS_COMPACT)
    };
    Window {
        offset: aligned.offset,
        length,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::info::BlockSizes;

    fn info(size: u64, minimum: u32, maximum: u32) -> ExportInfo {
        let block_sizes = BlockSizes {
            minimum,
            preferred: 4096,
            maximum,
            advertised: true,
        };
        ExportInfo {
            size,
            read_only: true,
            can_multi_conn: false,
            block_sizes,
        }
    }

    #[test]
    fn a_window_outside_the_export_is_refused() {
        assert_eq!(Window::within(10, 1, 10), None);
        assert_eq!(Window::within(u64::MAX, 2, 10), None);
        assert!(Window::within(10, 0, 10).is_some());
    }

    #[test]
    fn the_tail_that_is_no_whole_block_can_be_read() {
        let pieces = plan_read(
            Window {
                offset: 1020,
                length: 5,
            },
            &info(1025, 512, 4096),
        );
        assert_eq!(
            pieces,
            [ReadPiece {
                request: Window {
                    offset: 512,
                    length: 513
                },
                skip: 508,
                keep: 5
            }]
        );
    }

    #[test]
    fn status_of_a_large_export_fits_32_bits_unless_wide() {
        let window = Window {
            offset: 0,
            length: 1 << 40,
        };
        assert_eq!(
            plan_status(window, &info(1 << 40, 512, 4096), false).length,
            0xffff_0000
        );
        assert_eq!(
            plan_status(window, &info(1 << 40, 512, 4096), true).length,
            1 << 40
        );
    }

    proptest! {
        #[test]
        fn pieces_are_legal_and_make_up_the_window(
            size in 1_u64..200_000, from: u64, length: u64, shift in 0_u32..10, blocks in 1_u32..40,
        ) {
            let minimum = 1 << shift;
            let info = info(size, minimum, minimum * blocks);
            let offset = from % size;
            let window = Window { offset, length: length % (size - offset + 1) };
            let mut at = window.offset;
            for piece in plan_read(window, &info) {
                prop_assert_eq!(piece.request.offset % u64::from(minimum), 0);
                prop_assert!(piece.request.length <= u64::from(minimum * blocks));
                prop_assert!(piece.request.length % u64::from(minimum) == 0 || piece.request.end() == size);
                prop_assert_eq!(piece.request.offset + piece.skip as u64, at);
                prop_assert!(piece.keep > 0);
                prop_assert!((piece.skip + piece.keep) as u64 <= piece.request.length);
                at += piece.keep as u64;
            }
            prop_assert_eq!(at, window.end());
        }
    }
}

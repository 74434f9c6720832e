//! The answer to a read: every byte must come exactly once.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::server_error;
use crate::{
    error::{Error, Result, Violation},
    plan::Window,
    wire::reply::ErrorChunk,
};

/// Chunks accepted beyond one for each sector. Data in pieces smaller than sectors is no server's need, and each
/// piece costs memory.
const SPARE_CHUNKS: usize = 16;
const SECTOR: usize = 512;

/// A read being answered.
#[derive(Debug)]
pub(crate) struct ReadAssembly {
    window: Window,
    /// Starts as zeroes: a hole is then only a matter of book-keeping.
    buffer: BytesMut,
    covered: Coverage,
    chunks_left: usize,
    failure: Option<Error>,
}

impl ReadAssembly {
    /// `window` is what the request asked for: at most [`crate::info::MAX_READ`] bytes.
    pub(crate) fn new(window: Window) -> Self {
        let length = usize::try_from(window.length).unwrap_or(usize::MAX);
        Self {
            window,
            buffer: BytesMut::zeroed(length),
            covered: Coverage::default(),
            chunks_left: length / SECTOR + SPARE_CHUNKS,
            failure: None,
        }
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// Judges the announced length of a chunk of data, before any of it is waited for.
    pub(crate) fn admit(&self, length: u64) -> Result<(), Violation> {
        if length > self.window.length {
            return Err(Violation::new(format!(
                "{length} bytes of data for {}",
                self.window.length
            )));
        }
        Ok(())
    }

    /// Claims a part of the answer for a chunk of data; the caller fills it.
    pub(crate) fn claim(&mut self, offset: u64, length: u64) -> Result<&mut [u8], Violation> {
        self.chunks_left = self
            .chunks_left
            .checked_sub(1)
            .ok_or_else(|| Violation::new("read answered in too many chunks"))?;
        let start = offset.checked_sub(self.window.offset);
        let end = start
            .and_then(|start| start.checked_add(length))
            .filter(|end| *end <= self.window.length);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Violation::new(
                "chunk outside the bytes that were asked for",
            ));
        };
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return Err(Violation::new(
                "chunk outside the bytes that were asked for",
            ));
        };
        self.covered.add(start, end)?;
        Ok(&mut self.buffer[start..end])
    }

    /// The data of a simple reply: all of it at once.
    pub(crate) fn claim_all(&mut self) -> Result<&mut [u8], Violation> {
        self.claim(self.window.offset, self.window.length)
    }

    /// A chunk that says the bytes are zero.
    pub(crate) fn hole(&mut self, offset: u64, length: u32) -> Result<(), Violation> {
        self.claim(offset, u64::from(length)).map(|_| ())
    }

    /// A chunk that says the read failed; the first one is kept.
    pub(crate) fn error(&mut self, chunk: &ErrorChunk) -> Result<(), Violation> {
        let error = server_error(chunk, self.window)?;
        self.failure.get_or_insert(error);
        Ok(())
    }

    /// The answer after the last chunk: the outer error is a violation, the inner one the server's own.
    pub(crate) fn finish(self) -> Result<Result<Bytes>, Violation> {
        if let Some(failure) = self.failure {
            return Ok(Err(failure));
        }
        if !self.covered.is_all(self.buffer.len()) {
            return Err(Violation::new("read answered with bytes missing"));
        }
        Ok(Ok(self.buffer.freeze()))
    }
}

/// Which bytes have come: disjoint ranges start → end, neighbours joined.
#[derive(Debug, Default)]
struct Coverage(BTreeMap<usize, usize>);

impl Coverage {
    fn add(&mut self, mut start: usize, mut end: usize) -> Result<(), Violation> {
        if start == end {
            return Err(Violation::new("chunk of no bytes"));
        }
        let before = self
            .0
            .range(..end)
            .next_back()
            .map(|(start, end)| (*start, *end));
        if let Some((before_start, before_end)) = before {
            if before_end > start {
                return Err(Violation::new("chunks that overlap"));
            }
            if before_end == start {
                self.0.remove(&before_start);
                start = before_start;
            }
        }
        if let Some(after_end) = self.0.remove(&end) {
            end = after_end;
        }
        self.0.insert(start, end);
        Ok(())
    }

    fn is_all(&self, length: usize) -> bool {
        length == 0 || self.0.get(&0) == Some(&length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{error::ErrorKind, wire::reply::ErrorChunk};

    const WINDOW: Window = Window {
        offset: 1000,
        length: 4096,
    };

    #[test]
    fn data_and_holes_in_any_order_make_the_answer() {
        let mut read = ReadAssembly::new(WINDOW);
        read.hole(3000, 2096).unwrap();
        read.claim(1000, 1000).unwrap().fill(1);
        read.claim(2000, 1000).unwrap().fill(2);
        let data = read.finish().unwrap().unwrap();
        assert_eq!(
            [
                data[0], data[999], data[1000], data[1999], data[2000], data[4095]
            ],
            [1, 1, 2, 2, 0, 0]
        );
    }

    #[test]
    fn chunks_outside_or_overlapping_are_refused() {
        for (offset, length) in [
            (999, 2),
            (5095, 2),
            (5096, 1),
            (0, 1),
            (u64::MAX, 2),
            (1000, u64::MAX),
            (1000, 0),
        ] {
            assert!(
                ReadAssembly::new(WINDOW).claim(offset, length).is_err(),
                "{offset} {length}"
            );
        }
        let mut read = ReadAssembly::new(WINDOW);
        read.hole(2000, 100).unwrap();
        for (offset, length) in [(2000, 100), (1999, 2), (2099, 1), (1000, 4096), (2050, 10)] {
            assert!(read.claim(offset, length).is_err(), "{offset} {length}");
        }
    }

    #[test]
    fn missing_bytes_are_a_violation_unless_the_server_said_why() {
        let mut read = ReadAssembly::new(WINDOW);
        read.hole(1000, 4095).unwrap();
        assert!(read.finish().is_err());
        let mut read = ReadAssembly::new(WINDOW);
        read.error(&ErrorChunk {
            errno: crate::Errno::Io,
            text: String::new(),
            offset: Some(1000),
        })
        .unwrap();
        assert_eq!(
            read.finish().unwrap().unwrap_err().kind(),
            ErrorKind::Server(crate::Errno::Io)
        );
    }

    #[test]
    fn an_answer_in_single_bytes_is_refused() {
        let mut read = ReadAssembly::new(WINDOW);
        let taken = (1000..5096)
            .step_by(2)
            .take_while(|offset| read.claim(*offset, 1).is_ok())
            .count();
        assert_eq!(taken, 8 + SPARE_CHUNKS);
    }

    proptest! {
        #[test]
        fn an_answer_counts_as_whole_only_if_each_byte_came_once(chunks in prop::collection::vec((0_u64..70, 0_u64..70), 0..12)) {
            let window = Window { offset: 5, length: 60 };
            let mut read = ReadAssembly::new(window);
            let mut came = [0_u32; 60];
            for (offset, length) in chunks {
                let inside = length > 0 && offset >= 5 && offset + length <= 65;
                let fresh = inside && (offset..offset + length).all(|at| came[usize::try_from(at - 5).unwrap()] == 0);
                prop_assert_eq!(read.claim(offset, length).is_ok(), fresh);
                if fresh {
                    (offset..offset + length).for_each(|at| came[usize::try_from(at - 5).unwrap()] += 1);
                }
            }
            prop_assert_eq!(read.finish().is_ok(), came.iter().all(|count| *count == 1));
        }
    }
}

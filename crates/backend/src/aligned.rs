//! Memory for direct input and output: aligned, and used again.
//!
//! Filling the page cache and touching fresh memory both cost more CPU time than the bytes that pass
//! through are worth, when these are many and each is wanted once. Direct reads and writes need
//! memory that begins at a multiple of a block.

use std::sync::{Arc, Mutex, PoisonError};

/// Direct reads and writes begin, end and land at multiples of this: the page size, and no less
/// than the block size of any disk.
pub const ALIGNMENT: usize = 4096;

/// Buffers that came back. Clones share them.
#[derive(Debug, Clone)]
pub struct AlignedPool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    most: usize,
}

impl AlignedPool {
    /// A pool that keeps up to `most` buffers that nobody uses; more than that are freed.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            free: Arc::default(),
            most,
        }
    }

    /// A buffer of `length` bytes. What it holds is undefined: zeros, or what an earlier user
    /// left in it.
    #[must_use]
    pub fn take(&self, length: usize) -> AlignedBuffer {
        let mut memory = self.free().pop().unwrap_or_default();
        if memory.len() < length + ALIGNMENT {
            memory = vec![0; length + ALIGNMENT];
        }
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        AlignedBuffer {
            memory,
            start,
            length,
            pool: self.clone(),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether direct input and output may use these bytes at this offset of a file.
#[must_use]
pub fn is_aligned(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().align_offset(ALIGNMENT) == 0
        && bytes.len().is_multiple_of(ALIGNMENT)
        && offset.is_multiple_of(ALIGNMENT as u64)
}

/// A buffer that goes back to its pool when it is dropped; `Bytes::from_owner` takes it.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
    pool: AlignedPool,
}

impl AlignedBuffer {
    /// Its bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// Leaves bytes out: what is left begins `skip` bytes further and is `length` long, where there
    /// is so much.
    #[must_use]
    pub fn cut(mut self, skip: usize, length: usize) -> Self {
        let skip = skip.min(self.length);
        self.start += skip;
        self.length = length.min(self.length - skip);
        self
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut free = self.pool.free();
        if free.len() < self.pool.most {
            free.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let pool = AlignedPool::new(1);
        let first = pool.take(65_536).as_ref().as_ptr();
        assert_eq!(pool.take(65_536).as_ref().as_ptr(), first);
        assert_eq!(first.align_offset(ALIGNMENT), 0);
        drop([pool.take(1), pool.take(1)]);
        assert_eq!(pool.free().len(), 1, "one is kept");
    }

    #[test]
    fn a_cut_buffer_shows_what_is_left() {
        let pool = AlignedPool::new(1);
        let mut buffer = pool.take(10);
        buffer
            .bytes_mut()
            .copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let buffer = buffer.cut(3, 4);
        assert_eq!(buffer.as_ref(), [3, 4, 5, 6]);
        assert_eq!(buffer.cut(3, 9).as_ref(), [6]);
    }

    #[test]
    fn aligned_means_memory_length_and_place() {
        let pool = AlignedPool::new(1);
        let buffer = pool.take(3 * ALIGNMENT);
        let bytes = buffer.as_ref();
        assert!(is_aligned(bytes, 0) && is_aligned(&bytes[ALIGNMENT..], 8192));
        assert!(!is_aligned(bytes, 512));
        assert!(!is_aligned(&bytes[..100], 0));
        assert!(!is_aligned(&bytes[512..512 + ALIGNMENT], 0));
    }
}

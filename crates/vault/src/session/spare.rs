//! Memory that is used again.
//!
//! A backup fills a frame of a MiB every few milliseconds and a pack of 32 MiB every few frames.
//! Fresh memory for each costs a page fault every 4 KiB, which is more time than hashing takes.

use std::sync::{Arc, Mutex, PoisonError};

/// Vectors that nobody uses. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Spare {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    most: usize,
}

impl Spare {
    /// Keeps up to `most` vectors.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Arc::default(),
            most,
        }
    }

    /// An empty vector with room for `capacity` bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let free = &mut *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut vector = free.pop().unwrap_or_default();
        vector.reserve(capacity);
        vector
    }

    /// Takes a vector back.
    pub(crate) fn give(&self, mut vector: Vec<u8>) {
        vector.clear();
        let free = &mut *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.most {
            free.push(vector);
        }
    }

    /// The bytes of a vector that comes back when nobody has a piece of it any more.
    pub(crate) fn lend(&self, vector: Vec<u8>) -> bytes::Bytes {
        bytes::Bytes::from_owner(Lent {
            vector,
            spare: self.clone(),
        })
    }
}

struct Lent {
    vector: Vec<u8>,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.vector
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.vector));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_comes_back_empty_and_as_large() {
        let spare = Spare::new(1);
        let mut vector = spare.take(1000);
        vector.extend_from_slice(&[7; 1000]);
        let place = vector.as_ptr();
        let lent = spare.lend(vector);
        let piece = lent.slice(10..20);
        drop(lent);
        assert_eq!(piece[..], [7; 10]);
        drop(piece);
        let again = spare.take(10);
        assert!(again.is_empty() && again.capacity() >= 1000);
        assert_eq!(again.as_ptr(), place);
        spare.give(again);
        spare.give(vec![1]);
        assert_eq!(spare.free.lock().unwrap().len(), 1, "one is kept");
    }
}

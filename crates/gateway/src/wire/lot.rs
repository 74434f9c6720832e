//! The body of a `store.many`: for each name, in order, a byte, a length (`u32`, little-endian), and
//! so many bytes. The byte is 0 and the bytes are the object, or it says what failed, and they are a
//! text.

use bytes::Bytes;
use tresor_backend::ErrorKind;

use super::failure::{byte_of, kind_of_byte};
use super::{Malformed, TEXT};

const HEAD: usize = 5;
const FOUND: u8 = 0;

/// Appends an object, of at most [`super::MANY_OBJECT`] bytes.
pub fn write_object(out: &mut Vec<u8>, object: &[u8]) {
    write(out, FOUND, object);
}

/// Appends why there is none.
pub fn write_failed(out: &mut Vec<u8>, kind: ErrorKind, text: &str) {
    write(out, byte_of(kind), super::cut(text).as_bytes());
}

fn write(out: &mut Vec<u8>, byte: u8, bytes: &[u8]) {
    out.push(byte);
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// An object, or why there is none, in words.
pub type Found = Result<Bytes, (ErrorKind, String)>;

/// Reads a lot as it comes, in pieces.
#[derive(Debug)]
pub struct Lot {
    wanted: usize,
    most: usize,
    found: Vec<Found>,
    /// Less than an answer.
    rest: Vec<u8>,
}

impl Lot {
    /// The answers to so many names, of objects of at most `most` bytes each.
    #[must_use]
    pub fn new(wanted: usize, most: usize) -> Self {
        Self {
            wanted,
            most,
            found: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When it is no part of that lot.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some(head) = self.rest.get(at..at + HEAD) {
            let (byte, len) = (head[0], [head[1], head[2], head[3], head[4]]);
            let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
            let limit = if byte == FOUND { self.most } else { TEXT };
            if len > limit || self.found.len() >= self.wanted {
                return Err(Malformed("a lot has more than was asked for"));
            }
            let Some(bytes) = self.rest.get(at + HEAD..at + HEAD + len) else {
                break;
            };
            self.found.push(match byte {
                FOUND => Ok(Bytes::copy_from_slice(bytes)),
                kind => Err((
                    kind_of_byte(kind),
                    String::from_utf8_lossy(bytes).into_owned(),
                )),
            });
            at += HEAD + len;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn finish(self) -> Result<Vec<Found>, Malformed> {
        if self.rest.is_empty() && self.found.len() == self.wanted {
            Ok(self.found)
        } else {
            Err(Malformed("a lot is cut short"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_comes_back_however_it_is_cut() {
        let mut bytes = Vec::new();
        write_object(&mut bytes, b"");
        write_failed(&mut bytes, ErrorKind::NotFound, "not there");
        write_object(&mut bytes, b"12345");
        let expected: Vec<Found> = vec![
            Ok(Bytes::new()),
            Err((ErrorKind::NotFound, "not there".to_owned())),
            Ok(Bytes::from_static(b"12345")),
        ];
        for piece in 1..=bytes.len() {
            let mut lot = Lot::new(3, 5);
            bytes
                .chunks(piece)
                .for_each(|piece| lot.take(piece).unwrap());
            assert_eq!(lot.finish().unwrap(), expected);
        }
        assert!(Lot::new(3, 4).take(&bytes).is_err());
        assert!(Lot::new(2, 5).take(&bytes).is_err());
        let mut short = Lot::new(3, 5);
        short.take(&bytes[..bytes.len() - 1]).unwrap();
        assert!(short.finish().is_err());
    }

    /// A length is compared with its limit before the bytes are waited for.
    #[test]
    fn a_length_is_bounded_before_its_bytes_come() {
        assert!(Lot::new(1, 5).take(&[0, 6, 0, 0, 0]).is_err());
        assert!(Lot::new(1, 1 << 20).take(&[1, 1, 2, 0, 0]).is_err());
    }
}

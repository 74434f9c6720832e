//! The body of a list: entries, one behind another. An entry is the length of the name (`u8`), the
//! name, and the object's size (`u64`, little-endian). Names rise.

use tresor_backend::{ObjectMeta, ObjectName};

use super::Malformed;

/// Appends an entry.
pub fn write_entry(out: &mut Vec<u8>, meta: &ObjectMeta) {
    let name = meta.name.as_str().as_bytes();
    // A name has at most 200 bytes.
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name);
    out.extend_from_slice(&meta.size.to_le_bytes());
}

/// Reads a list as it comes, in pieces.
#[derive(Debug)]
pub struct Listing {
    prefix: String,
    entries: u64,
    found: Vec<ObjectMeta>,
    /// Less than an entry.
    rest: Vec<u8>,
}

impl Listing {
    /// A list of so many objects, all of which begin with `prefix`.
    ///
    /// # Errors
    /// When there may not be so many.
    pub fn new(prefix: &str, entries: u64) -> Result<Self, Malformed> {
        if entries > super::ENTRIES {
            return Err(Malformed("a list is too long"));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            entries,
            found: Vec::new(),
            rest: Vec::new(),
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When it is no part of that list.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some((entry, next)) = entry_at(&self.rest, at) {
            let (name, size) = entry?;
            self.add(name, size)?;
            at = next;
        }
        self.rest.drain(..at);
        Ok(())
    }

    fn add(&mut self, name: ObjectName, size: u64) -> Result<(), Malformed> {
        let rises = self.found.last().is_none_or(|last| last.name < name);
        let fits = name.as_str().starts_with(&self.prefix);
        if !rises || !fits || self.found.len() as u64 >= self.entries {
            return Err(Malformed("a list has an entry that does not belong there"));
        }
        self.found.push(ObjectMeta { name, size });
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is not complete.
    pub fn finish(self) -> Result<Vec<ObjectMeta>, Malformed> {
        if self.rest.is_empty() && self.found.len() as u64 == self.entries {
            Ok(self.found)
        } else {
            Err(Malformed("a list is cut short"))
        }
    }
}

type Entry = (ObjectName, u64);

/// The entry there, if all of it is, and where the next one begins.
fn entry_at(bytes: &[u8], at: usize) -> Option<(Result<Entry, Malformed>, usize)> {
    let len = usize::from(*bytes.get(at)?);
    let name = bytes.get(at + 1..at + 1 + len)?;
    let next = at + 1 + len + 8;
    let size = bytes.get(at + 1 + len..next)?.try_into().ok()?;
    let name = std::str::from_utf8(name).ok();
    let name = name.and_then(|name| ObjectName::new(name).ok());
    let name = name.ok_or(Malformed("a list has a name that is none"));
    Some((name.map(|name| (name, u64::from_le_bytes(size))), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(name: &str, size: u64) -> ObjectMeta {
        let name = ObjectName::new(name).unwrap();
        ObjectMeta { name, size }
    }

    fn read(bytes: &[u8], piece: usize, entries: u64) -> Result<Vec<ObjectMeta>, Malformed> {
        let mut listing = Listing::new("a", entries)?;
        for piece in bytes.chunks(piece) {
            listing.take(piece)?;
        }
        listing.finish()
    }

    #[test]
    fn a_list_comes_back_however_it_is_cut() {
        let metas = [meta("a", 0), meta("a/b", u64::MAX), meta("a/c", 7)];
        let mut bytes = Vec::new();
        metas.iter().for_each(|meta| write_entry(&mut bytes, meta));
        for piece in 1..=bytes.len() {
            assert_eq!(read(&bytes, piece, 3).unwrap(), metas);
        }
        assert!(read(&bytes, 5, 2).is_err());
        assert!(read(&bytes, 5, 4).is_err());
        assert!(read(&bytes[..bytes.len() - 1], 5, 3).is_err());
        assert!(read(&[], 1, super::super::ENTRIES + 1).is_err());
    }

    #[test]
    fn what_does_not_belong_into_a_list_is_refused() {
        for pair in [
            [meta("a/b", 1), meta("a/a", 1)],
            [meta("a/b", 1), meta("a/b", 1)],
            [meta("a/b", 1), meta("b", 1)],
        ] {
            let mut bytes = Vec::new();
            pair.iter().for_each(|meta| write_entry(&mut bytes, meta));
            assert!(read(&bytes, 100, 2).is_err(), "{pair:?}");
        }
        for bytes in [&b"\x00\0\0\0\0\0\0\0\0"[..], b"\x02a/\0\0\0\0\0\0\0\0"] {
            assert!(read(bytes, 100, 1).is_err(), "{bytes:?}");
        }
    }
}

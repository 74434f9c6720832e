//! How the kinds of errors of a backend travel: as the code of a failure, and as a byte in a lot.

use tresor_backend::ErrorKind;
use tresor_channel::{Failure, failures};

/// Kinds, their codes, and their bytes. Neither is ever given to another kind.
const KINDS: [(ErrorKind, &str, u8); 10] = [
    (ErrorKind::NotFound, "store.not-found", 1),
    (ErrorKind::AlreadyExists, "store.exists", 2),
    (ErrorKind::Full, "store.full", 3),
    (ErrorKind::Denied, "store.denied", 4),
    (ErrorKind::Retained, "store.retained", 5),
    (ErrorKind::BadRange, "store.bad-range", 6),
    (ErrorKind::Unavailable, "store.unavailable", 7),
    (ErrorKind::Io, "store.io", 8),
    (ErrorKind::Unfit, "store.unfit", 9),
    (ErrorKind::Refused, "store.refused", 10),
];

/// The code of a kind.
#[must_use]
pub fn code_of(kind: ErrorKind) -> &'static str {
    let found = KINDS.iter().find(|(known, ..)| *known == kind);
    found.map_or("store.io", |(_, code, _)| code)
}

/// A failure of that kind.
#[must_use]
pub fn failure_of(kind: ErrorKind, text: &str) -> Failure {
    Failure::new(code_of(kind), super::cut(text))
}

/// The kind of a failure. One that this program does not know says nothing of the object.
#[must_use]
pub fn kind_of(failure: &Failure) -> ErrorKind {
    match failure.code.as_str() {
        // The other end speaks another version of the methods.
        failures::METHOD_UNKNOWN | failures::HEAD_MALFORMED => ErrorKind::Unfit,
        code => {
            let found = KINDS.iter().find(|(_, known, _)| *known == code);
            found.map_or(ErrorKind::Io, |(kind, ..)| *kind)
        }
    }
}

pub(super) fn byte_of(kind: ErrorKind) -> u8 {
    let found = KINDS.iter().find(|(known, ..)| *known == kind);
    found.map_or(8, |(.., byte)| *byte)
}

pub(super) fn kind_of_byte(byte: u8) -> ErrorKind {
    let found = KINDS.iter().find(|(.., known)| *known == byte);
    found.map_or(ErrorKind::Io, |(kind, ..)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back() {
        for (kind, code, byte) in KINDS {
            assert_eq!(kind_of(&failure_of(kind, "")), kind, "{code}");
            assert_eq!((byte_of(kind), kind_of_byte(byte)), (byte, kind), "{code}");
        }
        assert_eq!(kind_of(&Failure::new("store.new", "")), ErrorKind::Io);
        assert_eq!(kind_of_byte(200), ErrorKind::Io);
        let unknown = Failure::new(failures::METHOD_UNKNOWN, "");
        assert_eq!(kind_of(&unknown), ErrorKind::Unfit);
        assert_eq!(failure_of(ErrorKind::Io, &"ä".repeat(400)).text.len(), TEXT);
    }

    const TEXT: usize = super::super::TEXT;
}

//! The one place where a range is judged against an object's size.

use std::ops::Range;

use crate::{Error, ErrorKind, ObjectName};

/// Checks that `range` lies in an object of `size` bytes and gives its length, which then is
/// bounded by memory that the object itself needs: a wild range allocates nothing.
///
/// # Errors
/// [`ErrorKind::BadRange`] when it starts after its end, ends after the object, or does not fit
/// this machine's address space.
pub(crate) fn check_range(
    name: &ObjectName,
    range: &Range<u64>,
    size: u64,
) -> Result<usize, Error> {
    let bad = || Error::new(ErrorKind::BadRange, "get_range", name.as_str());
    let len = range.end.checked_sub(range.start).ok_or_else(bad)?;
    if range.end > size {
        return Err(bad());
    }
    usize::try_from(len).map_err(|_| bad())
}

/// Checks that a whole object of `size` bytes may be read into `max_size`.
///
/// # Errors
/// [`ErrorKind::BadRange`] when it is larger.
pub(crate) fn check_whole(name: &ObjectName, size: u64, max_size: u64) -> Result<usize, Error> {
    let bad = || Error::new(ErrorKind::BadRange, "get", name.as_str());
    if size > max_size {
        return Err(bad());
    }
    usize::try_from(size).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_lie_inside() {
        let name = ObjectName::new("a").unwrap();
        for (range, size, want) in [
            (0..0, 0, Some(0)),
            (0..4, 4, Some(4)),
            (4..4, 4, Some(0)),
            (0..5, 4, None),
            (5..5, 4, None),
            #[expect(
                clippy::reversed_empty_ranges,
                reason = "a caller's mistake, on purpose"
            )]
            (3..2, 4, None),
            (0..u64::MAX, 4, None),
        ] {
            let got = check_range(&name, &range, size).ok();
            assert_eq!(got, want, "{range:?} of {size}");
        }
    }
}

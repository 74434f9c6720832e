//! For the fuzz targets. Built with the feature `fuzzing` only.

/// The kernel's answer to who holds a socket.
#[must_use]
pub fn holder(answer: &[u8]) -> Option<u32> {
    crate::holder::parse(answer)
}

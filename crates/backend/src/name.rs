//! Names of objects.

use std::fmt;

/// A text that is no object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an object name")]
pub struct NameError(String);

/// The name of an object: segments of `[a-z0-9._-]` joined by `/`, none starting with a dot,
/// at most 200 bytes. The same text is a path below a directory and a key in an object store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Most bytes in a name.
    pub const MAX_LEN: usize = 200;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] when the text breaks the rules above.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let good = text.len() <= Self::MAX_LEN && text.split('/').all(is_segment);
        if good {
            Ok(Self(text))
        } else {
            Err(NameError(text))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_vault() {
        for good in ["vault", "packs/0a/0a1b", "keys/slot-1.json"] {
            assert!(ObjectName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc",
            "a//b",
            "a/",
            "../x",
            "a/.tmp",
            "A",
            "a b",
            &"a".repeat(201),
        ] {
            assert!(ObjectName::new(bad).is_err(), "{bad}");
        }
    }
}

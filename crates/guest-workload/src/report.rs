//! How a run ends: failures with an exit code, and the one line of JSON that `verify` prints.

use std::{fmt, io, path::Path};

/// Why the program ends with something else than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Called wrongly (exit code 2).
    Usage(String),
    /// An operation on a file failed (exit code 3).
    Io { what: String, source: io::Error },
    /// What was found is not what must be there (exit code 1). The JSON line has the details.
    Inconsistent,
}

impl Failure {
    pub(crate) fn usage(text: &str) -> Self {
        Self::Usage(text.to_owned())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Inconsistent => 1,
            Self::Usage(_) => 2,
            Self::Io { .. } => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Inconsistent => f.write_str("not consistent"),
        }
    }
}

/// Adds what was being done to an I/O error.
pub(crate) trait During<T> {
    fn during(self, what: &str, path: &Path) -> Result<T, Failure>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| Failure::Io {
            what: format!("{what} {}", path.display()),
            source,
        })
    }
}

/// Prints a verdict as one line of JSON; anything but ok is a failure.
pub(crate) fn conclude(ok: bool, fields: &[(&str, String)]) -> Result<(), Failure> {
    let mut line = format!("{{\"ok\":{ok}");
    for (name, value) in fields {
        line.push_str(&format!(",\"{name}\":{value}"));
    }
    line.push('}');
    println!("{line}");
    if ok {
        Ok(())
    } else {
        Err(Failure::Inconsistent)
    }
}

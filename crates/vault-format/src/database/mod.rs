//! The database of an installation as a stream of a recovery point: lines of JSON, the same from every kind of
//! database. Layout: docs/format/database.md.

mod lines;
mod read;
mod write;

pub use lines::{DumpFile, DumpHead, FILES, MAX_FILE, MAX_LINE, STREAM};
pub use read::{Cell, DumpError, DumpReader, Part};
pub use write::{DumpCounts, DumpWriter};

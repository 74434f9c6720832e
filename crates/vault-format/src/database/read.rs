//! Reads a dump, whoever wrote it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::lines::{
    DumpFile, DumpHead, FILES, First, LastLine, MAGIC, MAX_FILE, MAX_LINE, TableLine, VERSION,
    Version, Which,
};

/// More tables or columns has no schema.
const MOST_TABLES: u64 = 1000;
const MOST_COLUMNS: usize = 1000;

/// Why something is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A later release wrote it.
    #[error("it has version {found}, and this release reads up to {supported}")]
    VersionUnknown {
        /// The version it says.
        found: u64,
        /// The newest that is read.
        supported: u64,
    },
    /// A line is not what can be there.
    #[error("line {line} is not as it must be: {what}")]
    Malformed {
        /// Its number, from 1; blank ones count.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// It ends before its end.
    #[error("its end is missing")]
    CutOff,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// NULL.
    Null,
    /// BIGINT.
    Number(i64),
    /// TEXT.
    Text(String),
}

/// What a dump has, in this order: head, files, and each table before its rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// What it says of itself.
    Head(DumpHead),
    /// A file.
    File(DumpFile),
    /// A table begins.
    Table {
        /// Its name.
        name: String,
        /// Its columns, in the order of the rows' values.
        columns: Vec<String>,
    },
    /// A row of the table that began last.
    Row(Vec<Cell>),
    /// The end. Nothing follows.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Files,
    Rows { columns: usize },
    Over,
}

/// Takes bytes as they come, gives parts. Holds one line at most.
#[derive(Debug)]
pub struct DumpReader {
    buffer: Vec<u8>,
    /// What of the buffer was taken.
    taken: usize,
    place: Place,
    line: u64,
    tables: u64,
    rows: u64,
}

impl Default for DumpReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DumpReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            place: Place::Start,
            line: 0,
            tables: 0,
            rows: 0,
        }
    }

    /// Takes the next bytes. All parts are to be taken before the next ones are given.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`DumpError`]; then nothing more is to be read.
    pub fn next_part(&mut self) -> Result<Option<Part>, DumpError> {
        loop {
            let rest = &self.buffer[self.taken..];
            let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
                return match rest.len() > MAX_LINE {
                    true => Err(self.malformed("it is too long")),
                    false => Ok(None),
                };
            };
            let line = self.taken..self.taken + length;
            self.taken += length + 1;
            self.line += 1;
            if length > MAX_LINE {
                return Err(self.malformed("it is too long"));
            }
            if length > 0 {
                return self.part(line).map(Some);
            }
        }
    }

    /// That all of it was there.
    ///
    /// # Errors
    /// `CutOff`; `Malformed` when something is left.
    pub fn finish(self) -> Result<(), DumpError> {
        match self.place {
            Place::Over if self.taken == self.buffer.len() => Ok(()),
            Place::Over => Err(self.malformed("something follows the end")),
            _ => Err(DumpError::CutOff),
        }
    }

    fn malformed(&self, what: &str) -> DumpError {
        let (line, what) = (self.line, what.to_owned());
        DumpError::Malformed { line, what }
    }

    fn parse<T: DeserializeOwned>(&self, line: std::ops::Range<usize>) -> Result<T, DumpError> {
        let parsed = serde_json::from_slice(&self.buffer[line]);
        // The text of the error is short, and has nothing of the line but a word that was not expected.
        parsed.map_err(|error| self.malformed(&format!("{:?} error", error.classify())))
    }

    fn part(&mut self, line: std::ops::Range<usize>) -> Result<Part, DumpError> {
        match self.place {
            Place::Over => Err(self.malformed("something follows the end")),
            Place::Start => self.head(line),
            Place::Rows { columns } if self.buffer[line.start] == b'[' => {
                let row: Vec<Cell> = self.parse(line)?;
                if row.len() != columns {
                    return Err(
                        self.malformed("the row has not as many values as the table columns")
                    );
                }
                self.rows += 1;
                Ok(Part::Row(row))
            }
            Place::Files | Place::Rows { .. } => self.object(line),
        }
    }

    fn head(&mut self, line: std::ops::Range<usize>) -> Result<Part, DumpError> {
        let version: Version = self.parse(line.clone())?;
        if version.tresor != MAGIC {
            return Err(self.malformed("it is not the first one of a database"));
        }
        if version.version != VERSION {
            return Err(DumpError::VersionUnknown {
                found: version.version,
                supported: VERSION,
            });
        }
        let first: First = self.parse(line)?;
        if !first.head.installation.is_database() {
            return Err(self.malformed("its installation is none"));
        }
        self.place = Place::Files;
        Ok(Part::Head(first.head))
    }

    fn object(&mut self, line: std::ops::Range<usize>) -> Result<Part, DumpError> {
        let which: Which = self.parse(line.clone())?;
        match (which.file, which.table, which.end) {
            (Some(_), None, None) if self.place == Place::Files => {
                let file: DumpFile = self.parse(line)?;
                if !FILES.contains(&file.name.as_str()) || file.text.len() > MAX_FILE {
                    return Err(self.malformed("no such file is kept"));
                }
                Ok(Part::File(file))
            }
            (None, Some(_), None) => {
                let TableLine { table, columns } = self.parse(line)?;
                self.tables += 1;
                if self.tables > MOST_TABLES || columns.is_empty() || columns.len() > MOST_COLUMNS {
                    return Err(self.malformed("no schema has such a table"));
                }
                self.place = Place::Rows {
                    columns: columns.len(),
                };
                Ok(Part::Table {
                    name: table,
                    columns,
                })
            }
            (None, None, Some(_)) => {
                let LastLine { end } = self.parse(line)?;
                if (end.tables, end.rows) != (self.tables, self.rows) {
                    return Err(self.malformed("tables or rows are missing before it"));
                }
                self.place = Place::Over;
                Ok(Part::End)
            }
            _ => Err(self.malformed("it is none of those that can be there")),
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

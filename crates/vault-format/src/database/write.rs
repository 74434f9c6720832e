//! Writes a dump, a line at a time.

use std::io::Write;

use serde::Serialize;

use super::{
    Cell, DumpFile, DumpHead,
    lines::{ALIGNED, End, First, LastLine, MAGIC, MAX_LINE, TableLine, VERSION},
};

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DumpCounts {
    /// Tables.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of the dump.
    pub bytes: u64,
}

/// Where a dump goes.
pub struct DumpWriter<W> {
    out: W,
    counts: DumpCounts,
}

impl<W: Write> DumpWriter<W> {
    /// Writes to `out`, from its beginning.
    pub const fn new(out: W) -> Self {
        let counts = DumpCounts {
            tables: 0,
            rows: 0,
            bytes: 0,
        };
        Self { out, counts }
    }

    /// Writes the first line.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn head(&mut self, head: &DumpHead) -> std::io::Result<()> {
        self.line(&First {
            tresor: MAGIC.to_owned(),
            version: VERSION,
            head: head.clone(),
        })
    }

    /// Writes a file: before all tables.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn file(&mut self, file: &DumpFile) -> std::io::Result<()> {
        self.line(file)
    }

    /// Begins a table.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn table(&mut self, table: &str, columns: Vec<String>) -> std::io::Result<()> {
        self.align()?;
        self.counts.tables += 1;
        let table = table.to_owned();
        self.line(&TableLine { table, columns })
    }

    /// Writes a row of the table that began last, with as many values as that has columns.
    ///
    /// # Errors
    /// `InvalidData` for one that is too long; when `out` fails.
    pub fn row(&mut self, row: &[Cell]) -> std::io::Result<()> {
        self.counts.rows += 1;
        self.line(&row)
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn end(&mut self) -> std::io::Result<DumpCounts> {
        self.align()?;
        let DumpCounts { tables, rows, .. } = self.counts;
        let end = End { tables, rows };
        self.line(&LastLine { end })?;
        self.out.flush()?;
        Ok(self.counts)
    }

    fn line(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        if line.len() > MAX_LINE {
            let text = format!("a row of {} bytes is too long", line.len());
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        line.push(b'\n');
        self.put(&line)
    }

    /// Goes on at the next chunk of the vault, so that what changes in one table moves no other.
    fn align(&mut self) -> std::io::Result<()> {
        while !self.counts.bytes.is_multiple_of(ALIGNED) {
            let gap = usize::try_from(ALIGNED - self.counts.bytes % ALIGNED).unwrap_or(1);
            self.put(&[b'\n'; 4096][..gap.min(4096)])?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.out.write_all(bytes)?;
        self.counts.bytes += bytes.len() as u64;
        Ok(())
    }
}

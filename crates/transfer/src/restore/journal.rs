//! The note beside a half-written image that says which windows are durable.
//!
//! One line a window, after a first line that says what is being restored. A line that a crash
//! cut short is ignored: its window is simply restored again.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// A journal is at most this large: 16 bytes a window of 64 MiB, for the largest disk there is.
const MAX_SIZE: u64 = 64 << 20;

/// The journal of one image.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    done: BTreeSet<u64>,
}

impl Journal {
    /// Opens the journal of `image`, or begins one. `subject` names the content and the format:
    /// when the journal that is there has another, `Ok(None)` asks the caller to begin anew with
    /// [`Journal::discard`].
    pub(super) fn open(image: &Path, subject: &str) -> io::Result<Option<Self>> {
        let path = Self::path_of(image);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => {
                if file.take(MAX_SIZE).read_to_string(&mut text).is_err() {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Some(done) = parse(&text, subject) else {
            return Ok(None);
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if text.is_empty() {
            writeln!(file, "{subject}")?;
            file.sync_data()?;
        }
        Ok(Some(Self { path, file, done }))
    }

    /// Removes the journal of `image`, if there is one.
    pub(super) fn discard(image: &Path) -> io::Result<()> {
        match std::fs::remove_file(Self::path_of(image)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path_of(image: &Path) -> PathBuf {
        let mut path = image.as_os_str().to_owned();
        path.push(".journal");
        path.into()
    }

    /// Whether the window that begins there is durable.
    pub(super) fn is_done(&self, window_start: u64) -> bool {
        self.done.contains(&window_start)
    }

    /// Notes a window; call when its data is durable.
    pub(super) fn note(&mut self, window_start: u64) -> io::Result<()> {
        writeln!(self.file, "{window_start}")?;
        self.file.sync_data()?;
        self.done.insert(window_start);
        Ok(())
    }

    /// Removes the journal: the image is whole.
    pub(super) fn finish(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The windows of a journal's text; `None` when it is about something else.
pub(super) fn parse(text: &str, subject: &str) -> Option<BTreeSet<u64>> {
    if text.is_empty() {
        return Some(BTreeSet::new());
    }
    let whole_lines = &text[..text.rfind('\n')? + 1];
    let mut lines = whole_lines.lines();
    (lines.next()? == subject).then(|| lines.filter_map(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_short_does_not_count() {
        let done = parse("point x as raw\n0\n67108864\n1342", "point x as raw").unwrap();
        assert_eq!(done.into_iter().collect::<Vec<_>>(), [0, 67_108_864]);
    }

    #[test]
    fn a_journal_of_something_else_is_refused() {
        assert!(parse("point x as raw\n0\n", "point y as raw").is_none());
        assert!(parse("point x", "point x as raw").is_none());
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("vda.raw.partial");
        let mut journal = Journal::open(&image, "a").unwrap().unwrap();
        journal.note(64).unwrap();
        drop(journal);
        let journal = Journal::open(&image, "a").unwrap().unwrap();
        assert!(journal.is_done(64) && !journal.is_done(0));
        assert!(Journal::open(&image, "b").unwrap().is_none());
        journal.finish().unwrap();
        assert!(!Journal::open(&image, "b").unwrap().unwrap().is_done(64));
    }
}

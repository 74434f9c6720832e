//! For the fuzz targets: what a guest sends. Built with the feature `fuzzing` only.

/// A line as an answer to a command; true when it is one.
#[must_use]
pub fn answer(line: &[u8]) -> bool {
    let line = super::connection::behind_delimiter(line);
    serde_json::from_slice(line)
        .is_ok_and(|answer| super::connection::decide_answer("guest-info", answer).is_ok())
}

/// The note of the freeze hook.
#[must_use]
pub fn note(bytes: &[u8]) -> bool {
    super::evidence::parse(bytes).is_some()
}

//! What xtask tells the person in front of it.
#![allow(
    clippy::print_stderr,
    reason = "a program for developers: progress goes to standard error"
)]

/// One line of progress.
pub(crate) fn say(line: &str) {
    eprintln!("xtask: {line}");
}

//! What the two ends say to each other: docs/protocol/gateway.md. No I/O.
//!
//! # Versions
//! A request with a member that the service does not know is refused: what it leaves out could
//! change what is meant. So requests grow by new methods. In answers, unknown members are passed
//! over, so that a service may be newer than its hosts.

mod failure;
mod heads;
mod listing;
mod lot;

pub use failure::{code_of, failure_of, kind_of};
pub use heads::{
    Entries, Get, List, Many, Nothing, Open, Opened, Put, Range, Request, Settle, Sized, Stat,
    answer_head,
};
pub use listing::{Listing, write_entry};
pub use lot::{Found, Lot, write_failed, write_object};

/// The version of the methods that this program speaks.
pub const VERSION: u16 = 1;
/// What the names of all methods of the gateway begin with.
pub const PREFIX: &str = "store.";
/// Most bytes of a vault's name.
pub const VAULT_NAME: usize = 64;
/// Most names in one `store.many`: all of them fit a head.
pub const MANY: usize = 256;
/// Most bytes of an object that `store.many` gives.
pub const MANY_OBJECT: u64 = 1 << 20;
/// Most objects that a list tells of.
pub const ENTRIES: u64 = 1 << 22;
/// Most bytes of an object, whatever its kind: an index run is the largest.
pub const OBJECT: u64 = tresor_vault_format::limits::INDEX_LIMIT as u64;
/// Most bytes of a text that says why something failed.
pub const TEXT: usize = 512;

/// Bytes that the other end may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Cuts a text to [`TEXT`] bytes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

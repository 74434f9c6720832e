//! Answers put together from chunks, each chunk judged against the request before it is believed. Pure.

mod read;
mod status;

pub(crate) use read::ReadAssembly;
pub(crate) use status::{Contexts, StatusAssembly};

use crate::{
    error::{Error, ErrorKind, Violation},
    plan::Window,
    wire::reply::ErrorChunk,
};

/// Turns an error chunk into the failure of its request; an offset it names must lie in the request.
fn server_error(chunk: &ErrorChunk, window: Window) -> Result<Error, Violation> {
    let place = match chunk.offset {
        Some(offset) if !(window.offset..window.end()).contains(&offset) => {
            return Err(Violation::new("error at an offset outside the request"));
        }
        Some(offset) => format!("at byte {offset}"),
        None => format!("bytes {}..{}", window.offset, window.end()),
    };
    let context = if chunk.text.is_empty() {
        place
    } else {
        format!("{place}: {}", chunk.text)
    };
    Ok(Error::new(ErrorKind::Server(chunk.errno), context))
}

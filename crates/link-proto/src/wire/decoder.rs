//! Bytes in, frames out. How an end finds the other one in what an earlier peer left:
//! docs/protocol/link.md, "Finding the beginning".

use super::frame::check;
use super::{Frame, Header, MAGIC};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::HEADER_LEN;

/// Takes bytes as they come and gives frames.
///
/// It begins by *seeking*: it knows nothing but greetings and resets, and steps over everything else
/// byte by byte, so that nothing which lies in the pipe can hide a greeting. After
/// [`Decoder::in_step`] one frame follows another, and anything else is an error.
#[derive(Debug)]
pub struct Decoder {
    seeking: bool,
    /// Bytes that were taken in and not yet used. While seeking it holds at most one greeting.
    window: Vec<u8>,
    header: Option<([u8; HEADER_LEN], Header)>,
    body: Vec<u8>,
    skipped: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            seeking: true,
            window: Vec::new(),
            header: None,
            body: Vec::new(),
            skipped: 0,
        }
    }
}

impl Decoder {
    /// From now on one frame follows another.
    pub fn in_step(&mut self) {
        self.seeking = false;
    }

    /// Bytes that were stepped over while seeking.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next frame, or `None` when all of `input` is taken in and more is needed.
    ///
    /// # Errors
    /// When in step and the bytes are no frame. There is no way on from there.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>> {
        if self.seeking {
            Ok(self.seek(input))
        } else {
            self.follow(input)
        }
    }

    fn seek(&mut self, input: &mut &[u8]) -> Option<Frame> {
        loop {
            self.skip(begin_of(&self.window));
            let needed = match self.window.first_chunk::<HEADER_LEN>() {
                None => HEADER_LEN,
                Some(head) => match Header::decode(head) {
                    Ok(header) if header.kind.is_outside() => {
                        let whole = HEADER_LEN + header.rest_len();
                        if let Some(bytes) = self.window.get(HEADER_LEN..whole) {
                            if let Some(body) = checked(head, bytes) {
                                let body = body.to_vec();
                                self.window.drain(..whole);
                                return Some(Frame { header, body });
                            }
                            self.skip(1);
                            continue;
                        }
                        whole
                    }
                    _ => {
                        self.skip(1);
                        continue;
                    }
                },
            };
            if input.is_empty() {
                return None;
            }
            let missing = needed - self.window.len();
            let taken = take(input, missing);
            self.window.extend_from_slice(taken);
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.window.drain(..bytes);
        self.skipped += bytes as u64;
    }

    fn follow(&mut self, input: &mut &[u8]) -> Result<Option<Frame>> {
        if self.window.is_empty() {
            return self.assemble(input);
        }
        // What seeking took in too much comes first.
        let window = std::mem::take(&mut self.window);
        let mut before = window.as_slice();
        let frame = self.assemble(&mut before)?;
        if frame.is_some() {
            self.window = before.to_vec();
            return Ok(frame);
        }
        self.assemble(input)
    }

    fn assemble(&mut self, input: &mut &[u8]) -> Result<Option<Frame>> {
        let (head, header) = match self.header {
            Some(header) => header,
            None => {
                fill(&mut self.body, HEADER_LEN, input);
                let Some(head) = self.body.first_chunk::<HEADER_LEN>().copied() else {
                    return Ok(None);
                };
                let header = Header::decode(&head)?;
                // The length was compared with its limit.
                self.body = Vec::with_capacity(header.rest_len());
                self.header = Some((head, header));
                (head, header)
            }
        };
        fill(&mut self.body, header.rest_len(), input);
        if self.body.len() < header.rest_len() {
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.body);
        let Some(plain) = checked(&head, &body).map(<[u8]>::len) else {
            return Err(Error::new(ErrorKind::OutOfStep, "a body's check"));
        };
        body.truncate(plain);
        self.header = None;
        Ok(Some(Frame { header, body }))
    }
}

/// Where a frame may begin: at the magic, or at its first bytes at the end of the window.
fn begin_of(window: &[u8]) -> usize {
    (0..window.len())
        .find(|&at| {
            let rest = &window[at..];
            let len = rest.len().min(MAGIC.len());
            rest[..len] == MAGIC[..len]
        })
        .unwrap_or(window.len())
}

/// The body without its check, when that fits.
fn checked<'a>(head: &[u8; HEADER_LEN], bytes: &'a [u8]) -> Option<&'a [u8]> {
    if bytes.is_empty() {
        return Some(bytes);
    }
    let (body, found) = bytes.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*found) == check(head, body)).then_some(body)
}

fn fill(buffer: &mut Vec<u8>, wanted: usize, input: &mut &[u8]) {
    let missing = wanted.saturating_sub(buffer.len());
    buffer.extend_from_slice(take(input, missing));
}

fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

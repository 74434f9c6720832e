//! Bodies: requests, failures, notices. Layouts: docs/protocol/link.md, "Bodies".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fields, printable};
use crate::error::{Error, ErrorKind, Misuse, Result};
use crate::limits::{CODE_LIMIT, CONTROL_LIMIT, FIELDS_LIMIT, METHOD_LIMIT, TEXT_LIMIT};

/// Reasons of resets, goodbyes and cancels.
pub mod codes {
    /// Reset: the other end broke the protocol.
    pub const VIOLATION: u16 = 1;
    /// Reset: no version in common.
    pub const VERSION: u16 = 2;
    /// Reset: a role that may not be there.
    pub const ROLE: u16 = 3;
    /// Reset: nothing was heard for too long.
    pub const SILENCE: u16 = 4;
    /// Reset: whoever owned the link let go of it.
    pub const DROPPED: u16 = 5;
    /// Goodbye: the program ends or starts again.
    pub const SHUTDOWN: u16 = 16;
    /// Goodbye: another link of the same peer has taken its place.
    pub const REPLACED: u16 = 17;
    /// Goodbye: the peer is no longer known, or no longer welcome.
    pub const DISMISSED: u16 = 18;
}

/// Failures that the link itself gives, in the place of a problem's code.
pub mod failures {
    /// The other end has no such method.
    pub const METHOD_UNKNOWN: &str = "link.method-unknown";
    /// The request crossed a goodbye, and was not looked at.
    pub const LEAVING: &str = "link.leaving";
    /// The head is not what the method takes.
    pub const HEAD_MALFORMED: &str = "link.head-malformed";
}

/// Why a request or a body failed: a problem's code and fields, or one of [`failures`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code of a problem in the catalog.
    pub code: String,
    /// In words, for logs, and for ends that do not know the code.
    pub text: String,
    /// The problem's fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl Failure {
    /// A failure without fields.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
            fields: BTreeMap::new(),
        }
    }

    /// The body of an error frame.
    ///
    /// # Errors
    /// When it is larger than such a frame may be.
    pub fn encode(&self) -> std::result::Result<Vec<u8>, Misuse> {
        match serde_json::to_vec(self) {
            Ok(body) if body.len() <= CONTROL_LIMIT && self.is_sound() => Ok(body),
            _ => Err(Misuse::TooLarge),
        }
    }

    /// Reads the body of an error frame.
    ///
    /// # Errors
    /// When it is no failure.
    pub fn decode(body: &[u8]) -> Result<Self> {
        if body.len() > CONTROL_LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, "a failure"));
        }
        let mut found: Self =
            serde_json::from_slice(body).map_err(|_| Error::malformed("a failure"))?;
        if !found.is_sound() {
            return Err(Error::malformed("a failure"));
        }
        found.text = printable(found.text.as_bytes(), CONTROL_LIMIT);
        Ok(found)
    }

    fn is_sound(&self) -> bool {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        (1..=CODE_LIMIT).contains(&self.code.len())
            && self.code.bytes().all(is_name)
            && self.fields.len() <= FIELDS_LIMIT
    }
}

/// Why a link or a stream ends: a code for programs, a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// One of [`codes`], or one of a later version.
    pub code: u16,
    /// In words. At most [`TEXT_LIMIT`] bytes are sent.
    pub text: String,
}

impl Notice {
    /// A notice.
    #[must_use]
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = self.code.to_le_bytes().to_vec();
        let text = self.text.as_bytes();
        body.extend_from_slice(&text[..self.text.floor_char_boundary(TEXT_LIMIT)]);
        body
    }

    pub(crate) fn decode(body: &[u8], part: &'static str) -> Result<Self> {
        let mut fields = Fields::new(body, part);
        let code = fields.u16()?;
        Ok(Self {
            code,
            text: printable(fields.rest(), TEXT_LIMIT),
        })
    }
}

/// The body of a request: the method's name with its length before it, then the head.
pub(crate) fn request_body(method: &str, head: &[u8]) -> std::result::Result<Vec<u8>, Misuse> {
    if !is_method(method.as_bytes()) {
        return Err(Misuse::MethodInvalid);
    }
    let len = 1 + method.len() + head.len();
    if len > CONTROL_LIMIT {
        return Err(Misuse::TooLarge);
    }
    let mut body = Vec::with_capacity(len);
    body.push(u8::try_from(method.len()).unwrap_or(0));
    body.extend_from_slice(method.as_bytes());
    body.extend_from_slice(head);
    Ok(body)
}

/// The method and the head of a request's body.
pub(crate) fn method_of(body: &[u8]) -> Result<(&str, &[u8])> {
    const PART: &str = "a request's method";
    let mut fields = Fields::new(body, PART);
    let len = usize::from(fields.u8()?);
    let method = fields.take(len)?;
    match std::str::from_utf8(method) {
        Ok(name) if is_method(method) => Ok((name, fields.rest())),
        _ => Err(Error::malformed(PART)),
    }
}

fn is_method(name: &[u8]) -> bool {
    let is_part =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(byte);
    (1..=METHOD_LIMIT).contains(&name.len()) && name.iter().all(is_part)
}

//! The greeting. Layout and rules: docs/protocol/link.md, "Greeting".

use std::fmt;

use super::{Fields, Frame, Header, Kind};
use crate::error::{Error, Result};
use crate::limits::{Limits, PROGRAM_LIMIT};

const PART: &str = "a greeting";
const WANTS_ANSWER: u8 = 1;

/// What an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// `tresor serve`.
    Service = 1,
    /// `tresor host`, on a hypervisor.
    Host = 2,
    /// The agent in a guest.
    Agent = 3,
}

impl Role {
    fn from_wire(byte: u8) -> Result<Self> {
        Ok(match byte {
            1 => Self::Service,
            2 => Self::Host,
            3 => Self::Agent,
            _ => return Err(Error::malformed("a greeting's role")),
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "a service",
            Self::Host => "a host",
            Self::Agent => "an agent",
        })
    }
}

/// A greeting. Its layout is that of version 1 for ever: it is read before a version is agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's number for this session: random, not 0.
    pub session: u64,
    /// The number it heard in a greeting of the other end, or 0.
    pub echo: u64,
    /// The sender has not heard its own number yet.
    pub wants_answer: bool,
    /// Lowest and highest version of the protocol that it speaks.
    pub versions: (u16, u16),
    /// What it is.
    pub role: Role,
    /// What it keeps.
    pub limits: Limits,
    /// The version of its program, in printable ASCII. For people.
    pub program: String,
}

impl Hello {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut body = Vec::with_capacity(25 + self.program.len());
        body.extend_from_slice(&self.versions.0.to_le_bytes());
        body.extend_from_slice(&self.versions.1.to_le_bytes());
        body.push(self.role as u8);
        body.push(if self.wants_answer { WANTS_ANSWER } else { 0 });
        body.extend_from_slice(&self.limits.streams.to_le_bytes());
        body.extend_from_slice(&self.echo.to_le_bytes());
        body.extend_from_slice(&self.limits.stream_credit.to_le_bytes());
        body.extend_from_slice(&self.limits.connection_credit.to_le_bytes());
        let program = &self.program.as_bytes()[..self.program.len().min(PROGRAM_LIMIT)];
        body.push(u8::try_from(program.len()).unwrap_or(0));
        body.extend_from_slice(program);
        let header = Header {
            version: 1,
            kind: Kind::Hello,
            last: false,
            session: self.session,
            stream: 0,
            sequence: 0,
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
        };
        Frame { header, body }
    }

    /// Reads a greeting. What a later version appends is passed over.
    ///
    /// # Errors
    /// When a field holds what no program writes.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(body, PART);
        let versions = (fields.u16()?, fields.u16()?);
        let role = fields.u8()?;
        let flags = fields.u8()?;
        let streams = fields.u16()?;
        let echo = fields.u64()?;
        let limits = Limits {
            streams,
            stream_credit: fields.u32()?,
            connection_credit: fields.u32()?,
        };
        let len = usize::from(fields.u8()?);
        let program = fields.take(len)?;
        let clean = len <= PROGRAM_LIMIT && program.iter().all(|byte| (0x20..0x7f).contains(byte));
        let spanned = versions.0 >= 1 && versions.0 <= versions.1;
        if !clean || !spanned || !limits.is_valid() || header.version != 1 {
            return Err(Error::malformed(PART));
        }
        Ok(Self {
            session: header.session,
            echo,
            wants_answer: flags & WANTS_ANSWER != 0,
            versions,
            role: Role::from_wire(role)?,
            limits,
            program: String::from_utf8_lossy(program).into_owned(),
        })
    }
}

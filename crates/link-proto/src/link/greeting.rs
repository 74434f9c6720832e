//! Finding out who is there, and that it is there now. docs/protocol/link.md, "Greeting".

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limits, PROGRAM_LIMIT, VERSIONS};
use crate::wire::{Frame, Hello, Role};

/// What an end says of itself, and whom it takes for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// A number for this session alone: random, so that nobody who wrote before knows it. Not 0.
    pub session: u64,
    /// What this end is.
    pub role: Role,
    /// What may be at the other end. This end's own role never is.
    pub accept: Vec<Role>,
    /// The version of this program.
    pub program: String,
    /// Lowest and highest version of the protocol to speak; [`VERSIONS`] but in tests.
    pub versions: (u16, u16),
    /// What this end keeps.
    pub limits: Limits,
}

impl Own {
    /// An end of this program's version of the protocol, with limits by its role.
    #[must_use]
    pub fn new(session: u64, role: Role, accept: &[Role], program: &str) -> Self {
        let limits = match role {
            Role::Agent => Limits::SMALL,
            Role::Service | Role::Host => Limits::LARGE,
        };
        Self {
            session,
            role,
            accept: accept.to_vec(),
            program: program.to_owned(),
            versions: VERSIONS,
            limits,
        }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number for this session.
    pub session: u64,
    /// What it is, by its own word.
    pub role: Role,
    /// The version of its program, by its own word.
    pub program: String,
    /// The version of the protocol that both speak from now on.
    pub version: u16,
    /// What it keeps.
    pub limits: Limits,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody who is there for sure.
    Nothing,
    Met(Peer),
}

#[derive(Debug)]
pub(super) struct Greeting {
    own: Own,
    /// The number of the last greeting that was heard.
    heard: Option<u64>,
    /// A greeting to be sent. Never more than one: however many come, the last one is answered.
    due: Option<Hello>,
}

impl Greeting {
    pub(super) fn new(mut own: Own) -> Self {
        own.session = own.session.max(1);
        own.program.retain(|c| (' '..='~').contains(&c));
        own.program.truncate(PROGRAM_LIMIT);
        if !own.limits.is_valid() {
            own.limits = Limits::SMALL;
        }
        let mut new = Self {
            own,
            heard: None,
            due: None,
        };
        new.repeat();
        new
    }

    pub(super) const fn own(&self) -> &Own {
        &self.own
    }

    pub(super) const fn session(&self) -> u64 {
        self.own.session
    }

    pub(super) const fn heard(&self) -> Option<u64> {
        self.heard
    }

    pub(super) fn output(&mut self) -> Option<Frame> {
        self.due.take().map(|hello| hello.frame())
    }

    pub(super) const fn has_output(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn repeat(&mut self) {
        self.say(self.heard.unwrap_or(0), true);
    }

    fn say(&mut self, echo: u64, wants_answer: bool) {
        self.due = Some(Hello {
            session: self.own.session,
            echo,
            wants_answer,
            versions: self.own.versions,
            role: self.own.role,
            limits: self.own.limits,
            program: self.own.program.clone(),
        });
    }

    /// A greeting while nobody is known yet. Only one that echoes this session's number is of somebody
    /// who is there now; any other may have lain in the pipe, so nothing is decided by it.
    pub(super) fn hear(&mut self, frame: &Frame) -> Result<Heard> {
        let Ok(hello) = Hello::decode(&frame.header, &frame.body) else {
            // It cannot be told whose it is: perhaps a better one follows.
            return Ok(Heard::Nothing);
        };
        // A line that sends everything back.
        if hello.session == self.own.session {
            return Ok(Heard::Nothing);
        }
        if hello.echo == 0 {
            self.heard = Some(hello.session);
            self.say(hello.session, true);
            return Ok(Heard::Nothing);
        }
        if hello.echo != self.own.session {
            return Ok(Heard::Nothing);
        }
        self.heard = Some(hello.session);
        let peer = self.judge(&hello)?;
        if hello.wants_answer {
            self.say(hello.session, false);
        } else {
            self.due = None;
        }
        Ok(Heard::Met(peer))
    }

    fn judge(&self, hello: &Hello) -> Result<Peer> {
        let (role, program) = (hello.role, &hello.program);
        let about = || format!("{role} of version {program:?}");
        let version = hello.versions.1.min(self.own.versions.1);
        if version < hello.versions.0.max(self.own.versions.0) {
            let (lowest, highest) = hello.versions;
            let kind = ErrorKind::VersionRefused { lowest, highest };
            return Err(Error::new(kind, about()));
        }
        if role == self.own.role || !self.own.accept.contains(&role) {
            return Err(Error::new(
                ErrorKind::RoleRefused { found: role },
                "the other end",
            ));
        }
        Ok(Peer {
            session: hello.session,
            role,
            program: program.clone(),
            version,
            limits: hello.limits,
        })
    }

    /// A greeting when the peer is known: its own again, because it has not heard ours yet; or that of
    /// somebody who has taken its place.
    pub(super) fn again(&mut self, peer: &Peer, frame: &Frame) -> Result<()> {
        let hello = Hello::decode(&frame.header, &frame.body)?;
        if hello.session == self.own.session {
            return Ok(());
        }
        if hello.session != peer.session {
            return Err(Error::new(
                ErrorKind::PeerRestarted,
                "a greeting with another number",
            ));
        }
        if hello.wants_answer {
            self.say(hello.session, false);
        }
        Ok(())
    }
}

//! How a connection is opened.

use std::time::Duration;

use tresor_link_proto::{Limits, Role};

/// What this end is and keeps, and whom it takes for a peer.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this end is.
    pub role: Role,
    /// What may be at the other end.
    pub accept: Vec<Role>,
    /// The version of this program, for the other end's logs.
    pub program: String,
    /// What this end keeps for the other one.
    pub limits: Limits,
    /// How long it waits.
    pub timing: Timing,
}

impl Options {
    /// An end with the limits of its role.
    #[must_use]
    pub fn new(role: Role, accept: &[Role], program: &str) -> Self {
        let limits = match role {
            Role::Agent => Limits::SMALL,
            Role::Service | Role::Host => Limits::LARGE,
        };
        Self {
            role,
            accept: accept.to_vec(),
            program: program.to_owned(),
            limits,
            timing: Timing::default(),
        }
    }
}

/// How long an end waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two greetings, while nobody answers.
    pub greet_every: Duration,
    /// For somebody to answer.
    pub greet_limit: Duration,
    /// Between two pings.
    pub ping_every: Duration,
    /// For anything at all to come, once a ping is unanswered. A ping alone may wait four times as long:
    /// its answer stands behind what the other end is sending.
    pub silence_limit: Duration,
    /// For the streams under way, after a goodbye.
    pub leave_limit: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            greet_every: Duration::from_secs(1),
            greet_limit: Duration::from_secs(20),
            ping_every: Duration::from_secs(10),
            silence_limit: Duration::from_secs(30),
            leave_limit: Duration::from_secs(30),
        }
    }
}

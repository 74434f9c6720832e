//! The trait.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tresor_model::Consistency;

/// What went wrong, for callers that decide by it. Each ends in a lower rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum QuiesceErrorKind {
    /// There is no channel, or nobody listens on it.
    NoChannel,
    /// The agent does not answer in time.
    Silent,
    /// The agent answers what it must not.
    Garbage,
    /// The agent does not know the command, or is told not to run it.
    Disabled,
    /// The guest refused to freeze, or a hook failed.
    Refused,
    /// The freeze did not end within its limit.
    FreezeTimedOut,
    /// A freeze was sent and no thaw was confirmed: the guest may still be frozen.
    LeftFrozen,
}

/// An error of a quiescer.
#[derive(Debug)]
pub struct QuiesceError {
    /// What went wrong.
    pub kind: QuiesceErrorKind,
    /// In words, with what the guest said (cut to a bounded length).
    pub message: String,
}

impl QuiesceError {
    /// An error in words.
    #[must_use]
    pub fn new(kind: QuiesceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for QuiesceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QuiesceError {}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// Whether it may freeze.
    pub can_freeze: bool,
    /// Whether a hook quiesces applications around the freeze, where that is known.
    pub has_hook: Option<bool>,
}

/// Limits of a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreezeRequest {
    /// How long the freeze command may take (the guest's own flush and hooks).
    pub freeze_limit: Duration,
    /// How long the guest may stay frozen before it is thawed whatever happens.
    pub hold_limit: Duration,
}

/// A guest that is frozen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    /// File systems that the agent says it froze.
    pub file_systems: u32,
}

/// A guest that was thawed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thaw {
    /// File systems that the agent says it thawed.
    pub file_systems: u32,
    /// From the freeze command sent to the thaw answered.
    pub frozen_for: Duration,
    /// Whether the freeze held until the thaw was sent: the numbers agree and the hold limit was
    /// not reached. When not, the snapshot is crash-consistent.
    pub held: bool,
    /// What a freeze that held was good for.
    pub consistency: Consistency,
    /// How that is known, as the end of a sentence.
    pub evidence: String,
}

/// Quiesces one guest.
#[async_trait]
pub trait Quiescer: Send {
    /// Asks the agent who it is, with a short limit. Freezes nothing.
    ///
    /// # Errors
    /// Why this rung of the ladder cannot be used.
    async fn probe(&mut self, limit: Duration) -> Result<AgentInfo, QuiesceError>;

    /// Flushes the guest's file systems, so that the freeze is short. Best effort.
    ///
    /// # Errors
    /// When the guest cannot; the freeze may still work.
    async fn flush(&mut self, limit: Duration) -> Result<(), QuiesceError>;

    /// Freezes the guest's file systems. The guard is watching before the command is sent.
    ///
    /// # Errors
    /// After any error the guest is thawed, or [`QuiesceErrorKind::LeftFrozen`] says that this
    /// could not be confirmed.
    async fn freeze(&mut self, request: FreezeRequest) -> Result<Freeze, QuiesceError>;

    /// Thaws, and asks until the guest says that it is thawed.
    ///
    /// # Errors
    /// [`QuiesceErrorKind::LeftFrozen`] when the guest never says so; the guard goes on.
    async fn thaw(&mut self) -> Result<Thaw, QuiesceError>;

    /// Thaws a guest that an earlier process may have left frozen. Does nothing to one that says
    /// it is thawed.
    ///
    /// # Errors
    /// [`QuiesceErrorKind::LeftFrozen`] when it says that it is frozen and does not thaw; any
    /// other kind when it cannot be asked.
    async fn recover(&mut self) -> Result<(), QuiesceError>;
}

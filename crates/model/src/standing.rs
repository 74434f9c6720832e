//! Where protected items and hosts are, and what a token allows: words that the catalog keeps and the API says.

use serde::{Deserialize, Serialize};

/// Whether backups of a protected item are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemState {
    /// They are.
    Protected,
    /// No more. Its recovery points stay.
    StoppedKept,
    /// No more. Its recovery points go, but for those that a pin or a lock holds, as long as it does.
    StoppedDeleted,
}

/// Whether a host may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It may.
    Enrolled,
    /// It may not, whatever certificate it has.
    Revoked,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// Everything.
    Admin,
    /// The daily work.
    Operator,
    /// Looking.
    Reader,
}

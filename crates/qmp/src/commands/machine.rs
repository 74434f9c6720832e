//! The machine as a whole.

use serde::Deserialize;
use serde_json::Value;

use super::{Nothing, commands};

commands! {
    /// `query-version`.
    QueryVersion => "query-version" -> Value {}

    /// `query-status`.
    QueryStatus => "query-status" -> Status {}

    /// `query-uuid`; all zeros when none was given.
    QueryUuid => "query-uuid" -> Uuid {}

    /// `query-name`.
    QueryName => "query-name" -> Name {}

    /// `query-memory-size-summary`.
    QueryMemorySize => "query-memory-size-summary" -> MemorySize {}

    /// `query-cpus-fast`.
    QueryCpus => "query-cpus-fast" -> Vec<Cpu> {}

    /// `stop`: pauses all CPUs and waits for writes under way.
    Stop => "stop" -> Nothing {}

    /// `cont`: lets them run.
    Cont => "cont" -> Nothing {}

    /// `quit`: ends QEMU in order.
    Quit => "quit" -> Nothing {}

    /// `human-monitor-command`.
    HumanMonitorCommand => "human-monitor-command" -> String {
        /// As typed at the monitor.
        command_line: String,
    }
}

/// Whether the machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Whether CPUs run.
    pub running: bool,
    /// `running`, `paused`, `io-error`, `inmigrate`, ….
    pub status: String,
}

/// The machine's UUID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Uuid {
    /// As text.
    #[serde(rename = "UUID")]
    pub uuid: String,
}

/// The machine's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Name {
    /// Absent when none was given.
    pub name: Option<String>,
}

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemorySize {
    /// Bytes at start.
    pub base_memory: u64,
    /// Bytes plugged in since.
    #[serde(default)]
    pub plugged_memory: u64,
}

/// A CPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cpu {
    /// Where it is in the object tree.
    pub qom_path: String,
}

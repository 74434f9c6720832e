//! The lines of a dump.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tresor_model::{HostId, VmId};

/// The longest line in bytes: a job's event, or the machine of a VM, is far below.
pub const MAX_LINE: usize = 16 << 20;
/// The longest file in bytes, as the identity's own limit.
pub const MAX_FILE: usize = 256 << 10;
/// The files of the state directory that are in a dump. Keys of vaults are none of them.
pub const FILES: [&str; 3] = ["identity/ca.key", "identity/ca.crt", "identity/trusted.crt"];

/// The stream's name in the recovery point.
pub const STREAM: &str = "database.jsonl";

/// What the first line says that it is.
pub(super) const MAGIC: &str = "database";
pub(super) const VERSION: u64 = 1;
/// Tables begin at multiples of so many bytes: the size of a chunk in a vault.
pub(super) const ALIGNED: u64 = 64 << 10;

/// What a dump says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpHead {
    /// The version of the schema that its tables have.
    pub schema: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// The installation whose it is.
    pub installation: VmId,
    /// The release that wrote it.
    pub program: String,
    /// The host that the machine was on a shared database; `None`: it had a database of its own.
    pub host: Option<HostId>,
}

/// A file of the state directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpFile {
    /// Its place there, one of [`FILES`].
    #[serde(rename = "file")]
    pub name: String,
    /// Its content.
    pub text: String,
}

impl std::fmt::Debug for DumpFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may be a private key.
        f.debug_struct("DumpFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct First {
    pub(super) tresor: String,
    pub(super) version: u64,
    #[serde(flatten)]
    pub(super) head: DumpHead,
}

/// What any version of a first line has.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) tresor: String,
    pub(super) version: u64,
}

/// What goes before a table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableLine {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub(super) struct LastLine {
    pub(super) end: End,
}

#[derive(Serialize, Deserialize)]
pub(super) struct End {
    pub(super) tables: u64,
    pub(super) rows: u64,
}

/// Which of the lines that are objects one is.
#[derive(Deserialize)]
pub(super) struct Which {
    pub(super) file: Option<IgnoredAny>,
    pub(super) table: Option<IgnoredAny>,
    pub(super) end: Option<IgnoredAny>,
}

//! Errors of the QMP client.

use std::fmt;

/// What went wrong, for callers that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nobody listens on the socket, or it may not be opened.
    Unreachable,
    /// The socket is there, but no greeting came: another client holds it.
    Busy,
    /// The connection ended before the reply.
    Closed,
    /// No reply within the time limit. The command may still take effect.
    Timeout,
    /// The peer sent what is not QMP, or a reply of an unexpected shape.
    Protocol,
    /// QEMU refused the command.
    Command(ErrorClass),
}

/// QEMU's error classes. All but a handful of errors are [`ErrorClass::Generic`]; QEMU asks
/// clients not to read meaning from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// `GenericError`.
    Generic,
    /// `CommandNotFound`: this QEMU has no such command.
    CommandNotFound,
    /// `DeviceNotFound`.
    DeviceNotFound,
    /// `DeviceNotActive`.
    DeviceNotActive,
    /// `KVMMissingCap`.
    KvmMissingCap,
    /// A class this client does not know.
    Other,
}

impl ErrorClass {
    /// The class with this name on the wire.
    #[must_use]
    pub fn from_wire(name: &str) -> Self {
        match name {
            "GenericError" => Self::Generic,
            "CommandNotFound" => Self::CommandNotFound,
            "DeviceNotFound" => Self::DeviceNotFound,
            "DeviceNotActive" => Self::DeviceNotActive,
            "KVMMissingCap" => Self::KvmMissingCap,
            _ => Self::Other,
        }
    }
}

/// What QEMU said when it refused a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct CommandError {
    /// Its class.
    pub class: ErrorClass,
    /// Its text, for people.
    pub description: String,
}

/// An error of the QMP client: kind, what was being done, and the cause below.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn refused(command: &str, error: CommandError) -> Self {
        Self::new(
            ErrorKind::Command(error.class),
            format!("QEMU refused `{command}`"),
        )
        .because(error)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether QEMU answered, and refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind, ErrorKind::Command(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

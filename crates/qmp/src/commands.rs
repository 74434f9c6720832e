//! Typed commands, grouped by subject. Only what is used; [`crate::Client::execute`] runs the
//! rest.
//!
//! Replies keep the members that are needed and accept any others, so that older and newer QEMUs
//! are understood alike. Every command here exists in QEMU 7.2 and later.

pub mod bitmap;
pub mod block;
pub mod export;
pub mod job;
pub mod machine;
pub mod object;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// A command with the shape of its reply.
pub trait Command: Serialize {
    /// Its name on the wire.
    const NAME: &'static str;
    /// What it returns.
    type Reply: DeserializeOwned;

    /// Its arguments as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when they cannot be expressed in JSON: a defect of the command.
    fn arguments(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(|source| {
            Error::new(
                ErrorKind::Protocol,
                format!("encode the arguments of `{}`", Self::NAME),
            )
            .because(source)
        })
    }

    /// Name and arguments, for [`crate::Client::pipeline`].
    ///
    /// # Errors
    /// As [`Command::arguments`].
    fn to_pipeline(&self) -> Result<(String, Value), Error> {
        Ok((Self::NAME.to_owned(), self.arguments()?))
    }
}

/// What commands return that return nothing of use. Accepts any value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "serde::de::IgnoredAny")]
pub struct Nothing;

impl From<serde::de::IgnoredAny> for Nothing {
    fn from(_: serde::de::IgnoredAny) -> Self {
        Self
    }
}

/// Declares commands: documentation, struct, name on the wire, reply.
macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $name:ident => $wire:literal -> $reply:ty {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $crate::commands::Command for $name {
            const NAME: &'static str = $wire;
            type Reply = $reply;
        }
    )*};
}
pub(crate) use commands;

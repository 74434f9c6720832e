//! Decorators: each adds one thing to any backend and is a backend itself.
//!
//! Order matters where they stack: `Retrying(Metered(Throttled(store)))` counts every attempt,
//! `Metered(Retrying(…))` what callers asked for.

mod faulty;
mod kept;
mod metered;
mod paced;
mod read_only;
mod retrying;
mod throttled;

pub use faulty::{Fault, Faulty};
pub use kept::Kept;
pub use metered::{Metered, Usage, VerbUsage};
pub use paced::Paced;
pub use read_only::ReadOnly;
pub use retrying::{Backoff, Retrying};
pub use throttled::Throttled;

/// The methods of the port, as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// [`crate::Backend::put`].
    Put,
    /// [`crate::Backend::get`].
    Get,
    /// [`crate::Backend::get_range`].
    GetRange,
    /// [`crate::Backend::stat`].
    Stat,
    /// [`crate::Backend::list`].
    List,
    /// [`crate::Backend::settle`].
    Settle,
    /// [`crate::Backend::retain_until`].
    Retain,
    /// [`crate::Backend::delete`].
    Delete,
    /// [`crate::Backend::sweep`].
    Sweep,
}

impl Verb {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Put,
        Self::Get,
        Self::GetRange,
        Self::Stat,
        Self::List,
        Self::Settle,
        Self::Retain,
        Self::Delete,
        Self::Sweep,
    ];

    /// The name that errors give the operation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Settle => "settle",
            Self::Retain => "retain_until",
            Self::Delete => "delete",
            Self::Sweep => "sweep",
        }
    }
}

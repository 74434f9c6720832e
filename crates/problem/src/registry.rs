//! What is known of each problem, and the macro that ties text to typed fields.

use serde::{Deserialize, Serialize};

/// Whether doing the same again can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same call may succeed a little later.
    Helps,
    /// It succeeds only after somebody followed the remedy.
    AfterRemedy,
    /// It will not succeed.
    Never,
}

/// Who can fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The way Tresor was called or configured.
    Usage,
    /// The guest's administrator.
    Guest,
    /// The administrator of the hypervisor host.
    Host,
    /// The owner of the vault's storage.
    Storage,
    /// Tresor itself: a defect.
    Tresor,
}

/// The class of a failure as the exit code of the CLI tells it (docs/exit-codes.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitClass {
    /// 1: a failure of no other class.
    Failure,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: the named vault, VM, point or job does not exist.
    NotFound,
    /// 4: a key or passphrase is wrong or missing.
    Key,
    /// 5: stored data is damaged or missing.
    Damage,
    /// 6: something else holds what is needed (lock, disk in use).
    Busy,
    /// 7: the VM or its host could not be reached or refused.
    Vm,
    /// 8: the vault's storage could not be reached, is full or refused.
    Storage,
    /// 130: interrupted by the user.
    Interrupted,
}

impl ExitClass {
    /// The process exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Key => 4,
            Self::Damage => 5,
            Self::Busy => 6,
            Self::Vm => 7,
            Self::Storage => 8,
            Self::Interrupted => 130,
        }
    }
}

/// The constant part of a problem: what does not depend on where it happened.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Stable name, never reused.
    pub code: &'static str,
    /// One line for a list or a mail subject.
    pub title: &'static str,
    /// Why it happened, with `{field}` placeholders.
    pub cause: &'static str,
    /// What to do, in order, imperative, with `{field}` placeholders. Never empty.
    pub remedy: &'static [&'static str],
    /// Whether a retry helps.
    pub retry: Retry,
    /// Who can fix it.
    pub fault: Fault,
    /// The exit code's class.
    pub exit: ExitClass,
    /// Names of the placeholders.
    pub fields: &'static [&'static str],
}

/// Declares the catalog: one variant a problem, with its text. The placeholders in `cause` and
/// `remedy` are checked by the compiler against the variant's fields.
macro_rules! problems {
    ($(
        $name:ident { $($field:ident),* $(,)? }
        title $title:literal
        cause $cause:literal
        remedy [$($remedy:literal),+ $(,)?]
        retry $retry:ident fault $fault:ident exit $exit:ident;
    )*) => {
        /// Every problem there is, with the details of one occurrence.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Kind {
            $(
                #[doc = $title]
                $name { $(
                    #[doc = concat!("`{", stringify!($field), "}` in the text.")]
                    $field: String
                ),* },
            )*
        }

        impl Kind {
            /// All entries, in the order of the catalog.
            pub const ENTRIES: &'static [$crate::Entry] = &[
                $($crate::Entry {
                    code: stringify!($name),
                    title: $title,
                    cause: $cause,
                    remedy: &[$($remedy),+],
                    retry: $crate::Retry::$retry,
                    fault: $crate::Fault::$fault,
                    exit: $crate::ExitClass::$exit,
                    fields: &[$(stringify!($field)),*],
                },)*
            ];

            /// The stable code.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            /// The cause, in words, with the details of this occurrence.
            #[must_use]
            #[allow(unused_variables, reason = "not every text uses every field")]
            pub fn cause(&self) -> String {
                match self { $(Self::$name { $($field),* } => format!($cause),)* }
            }

            /// The steps to take, with the details of this occurrence.
            #[must_use]
            #[allow(unused_variables, reason = "not every text uses every field")]
            pub fn remedy(&self) -> Vec<String> {
                match self { $(Self::$name { $($field),* } => vec![$(format!($remedy)),+],)* }
            }

            /// The placeholders and their values.
            #[must_use]
            pub fn fields(&self) -> Vec<(&'static str, &str)> {
                match self {
                    $(Self::$name { $($field),* } => vec![$((stringify!($field), $field.as_str())),*],)*
                }
            }
        }
    };
}

//! Object stores as [`tresor_backend::Backend`]: S3 and what speaks it, Azure Blob, Google Cloud
//! Storage.
//!
//! # What must hold
//! - One call is one request, but for lists, which take one for each thousand objects, and for what
//!   changes objects that are there: a delete in S3 looks first whether the object is held, and a hold
//!   is read back (`lock.rs`). Requests are a budget. Nothing is repeated here; [`tresor_backend::wrap::Retrying`] does that.
//! - A body is sent in one PUT with "only if there is none" (`If-None-Match: *`, on Google
//!   `x-goog-if-generation-match: 0`). Only an answer that says "there is one" is
//!   [`tresor_backend::ErrorKind::AlreadyExists`]; whatever leaves it open (time-out, cut, 5xx,
//!   409 of a race) is `Unavailable`, and whoever puts again learns it.
//! - Secrets come from the environment, a file or the machine's own role, and are in no error, log
//!   or location.
//!
//! # After a crash
//! A PUT that was under way happened whole or not at all. There are no multipart uploads, so
//! nothing is left to sweep.

mod append_only;
mod backend;
mod connect;
mod direct;
mod failure;
mod hidden;
mod listing;
mod lock;
mod place;
mod settings;
mod signer;
mod wire;

pub use append_only::Powers;
pub use backend::ObjectBackend;
pub use connect::ConnectError;
pub use hidden::Hidden;
pub use lock::{Lock, LockTrial};
pub use place::{Place, PlaceError, Provider};
pub use settings::{LockMode, ObjectLock, Secrets, SecretsError, Settings};

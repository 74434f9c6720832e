//! From a vault onto disks.
//!
//! # Ordering
//! Data is written and made durable window by window, each window noted in a journal beside the
//! image; then the image's own metadata; then the image gets its final name. An image under its
//! final name is whole.
//!
//! # After a crash
//! The `.partial` file and its journal stay. The same restore goes on behind the last window that
//! the journal names; a journal of another recovery point or format is discarded with its image.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod in_use;
mod journal;
mod layout;
mod qcow2;

pub use image::{RestoreProgress, Target, restore_stream};
pub use in_use::holder;
pub use layout::ImageFormat;

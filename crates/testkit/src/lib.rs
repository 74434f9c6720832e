//! Real guests for tests and for the demo, and checks on disk images.
//!
//! [`Guest`] is a running virtual machine: real QEMU, real Linux, a real QEMU guest agent. It is
//! booted from what `cargo xtask setup` left in `target/guest` ([`Assets`]), by default from a
//! saved state, in a fraction of a second:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use tresor_testkit::Guest;
//!
//! let guest = Guest::builder().data_disk().start().await?;
//! guest.start_background("tresor-workload log --dir /data/log").await?;
//! let product_connects_to = guest.qmp_socket();
//! let answer = guest.exec("tresor-workload verify log --dir /data/log").await?;
//! assert_eq!(answer.code, 0, "{}", answer.output);
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! - A test never takes a channel that the product uses: it has a monitor and a guest port of
//!   its own.
//! - No guest outlives its test, whatever way the test ends: QEMU is killed and waited for when
//!   the value is dropped, and by the kernel when the test's process dies.
//! - Every wait has a limit, and its error carries the end of the guest's console.

mod accelerator;
mod assets;
mod control;
mod guest;
mod image;
pub mod interrupts;
pub mod login;
mod monitor;
mod program;
mod run;
pub mod sinks;
mod spawn;
pub mod stores;

pub use accelerator::Accelerator;
pub use assets::{Assets, Qemu, QemuProgram};
pub use control::Answer;
pub use guest::{Booted, DiskFormat, Guest, GuestBuilder, GuestDisk};
pub use image::{Difference, check_ext4, compare_images, make_ext4, raw_copy};
pub use monitor::Monitor;
pub use program::{Ended, Program, Running};
pub use run::{LONG, run};

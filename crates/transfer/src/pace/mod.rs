//! How fast a snapshot is read: never faster than asked for, and slower before the guest is.
//!
//! [`Pacer`] stands in front of every read. [`watch_guest`] looks at the guest's writes from time to
//! time, [`decide_rate`] (pure) judges what it saw, and the pacer follows.

mod governor;
mod pacer;
mod watch;

pub use governor::{Governor, Sample, decide_rate};
pub use pacer::{Held, Pacer};
pub use watch::{GuestWatch, mean_between, watch_guest};

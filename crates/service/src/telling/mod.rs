//! Telling people: what is told is kept with what it tells of, sent by any process, and at least once.
//!
//! - `teller`: which channels are told of an event, and when. Pure.
//! - `sending`: sends what waits, tries again, gives up, and raises an alert meanwhile.
//! - `digest`: how everything stands, once a day.
//! - `pulse`: the heartbeat.

mod digest;
mod pulse;
mod sending;
mod teller;

pub(crate) use pulse::{Pulse, run as beat};
pub use sending::{Sending, test_channel};
pub(crate) use teller::Teller;

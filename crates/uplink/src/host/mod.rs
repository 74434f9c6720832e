//! The host's end.

mod address;
mod dial;
mod direct;
mod enrol;
mod keep;
mod run;
mod vaults;

pub use address::{Address, AddressError};
pub use direct::Shortcuts;
pub use enrol::enrol;
pub use keep::{Pause, Uplink};
pub use run::Host;
pub use vaults::HostVaults;

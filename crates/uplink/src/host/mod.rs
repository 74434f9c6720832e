//! The host's end.

mod dial;
mod direct;
mod enrol;
mod keep;
mod run;
mod vaults;

pub use direct::Shortcuts;
pub use enrol::enrol;
pub use keep::{Pause, Uplink};
pub use run::Host;
pub use tresor_identity::{Address, AddressError};
pub use vaults::HostVaults;

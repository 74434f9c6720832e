//! The service's end.

mod admission;
mod attempts;
mod enrolment;
mod links;
mod renewal;
mod sessions;
mod vaults;

pub use enrolment::new_enrolment;
pub use links::{HostLinks, LinkOptions};

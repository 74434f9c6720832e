//! The host role: what a machine with VMs needs to work on them. State and keys, vaults and how they
//! are opened, VMs and their locks, and jobs that become plans beside the disks.
//!
//! # Invariants
//! - One process at a time works on a VM of this machine ([`HostLock`]).
//! - A job is what was recorded of it: its plan is built from its parameters, on whatever host it runs.

mod backup;
mod command_line;
mod copies;
mod copy;
mod database;
mod discover;
mod found;
mod here;
mod keeping;
pub mod keys;
mod location;
mod lock;
mod place;
mod problems;
mod registry;
mod restore;
mod restore_dirs;
mod role;
mod running;
mod state;
mod stop;
mod storage;
mod verified;
mod verify;
mod vm;
mod work;

pub use command_line::{agent_of, qmp_of};
pub use copies::OtherVaults;
pub use database::database_services;
pub use discover::Discovery;
pub use found::{keep_found, known_on};
pub use here::{become_host, embedded, here};
pub use keys::KeyChoice;
pub use location::{Location, stack};
pub use lock::HostLock;
pub use place::{KEY_FILE, Manner, VaultPlace, open_vault_at};
pub use problems::{internal, usage};
pub use registry::{LocalRegistry, Registry};
pub use restore::no_vms;
pub use role::{HostRole, RoleOptions};
pub use state::{StateDir, absolute};
pub use stop::Stop;
pub use storage::Storage;
pub use verified::{WholeVault, history, mark_part, mark_points, note_learnt};
pub use vm::{guest_agent, provider, vm_problem};
pub use work::VmWork;

//! What each role may do: one table.

mod groups;
mod role;
mod table;

pub use groups::GroupRoles;
pub use role::{Role, RoleError};
pub use table::{Action, matrix, may, may_on};

//! What each role may do: one table.

mod role;
mod table;

pub use role::{Role, RoleError};
pub use table::{Action, matrix, may, may_on};

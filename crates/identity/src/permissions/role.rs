//! The roles.

use std::{fmt, str::FromStr};

use tresor_model::HostId;

/// As whom somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// The daily work: protecting, running, restoring. Nothing that removes what is stored, or decides how
    /// long it is kept.
    Operator,
    /// Looking.
    Reader,
    /// A host, by its certificate: what is its own, and only adding to it.
    Host(HostId),
}

/// A text that is no role of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no role: admin, operator or reader")]
pub struct RoleError {
    text: String,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Operator => f.write_str("operator"),
            Self::Reader => f.write_str("reader"),
            Self::Host(id) => write!(f, "host:{id}"),
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    /// The role of a token. A host's is never one: it comes from its certificate.
    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "admin" => Ok(Self::Admin),
            "operator" => Ok(Self::Operator),
            "reader" => Ok(Self::Reader),
            _ => Err(RoleError {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_role_is_read_again_and_a_hosts_is_not() {
        for role in [Role::Admin, Role::Operator, Role::Reader] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        let host = Role::Host(HostId::generate()).to_string();
        for text in ["", "Admin", "root", &host] {
            assert!(text.parse::<Role>().is_err(), "{text}");
        }
    }
}

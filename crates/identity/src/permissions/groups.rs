//! Roles by groups of an identity provider.

use super::Role;

/// Which groups have which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRoles {
    /// Groups of administrators.
    pub admin: Vec<String>,
    /// Groups of operators.
    pub operator: Vec<String>,
    /// Groups of readers.
    pub reader: Vec<String>,
}

impl GroupRoles {
    /// Whether no group has a role.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.admin, &self.operator, &self.reader]
            .iter()
            .all(|groups| groups.is_empty())
    }

    /// The role of somebody in these groups: the one that permits most. Groups are compared letter by letter.
    #[must_use]
    pub fn role(&self, groups: &[String]) -> Option<Role> {
        let by_role = [
            (&self.admin, Role::Admin),
            (&self.operator, Role::Operator),
            (&self.reader, Role::Reader),
        ];
        let found = by_role
            .into_iter()
            .find(|(named, _)| groups.iter().any(|group| named.contains(group)));
        found.map(|(_, role)| role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().copied().map(str::to_owned).collect()
    }

    #[test]
    fn the_role_that_permits_most_counts() {
        let roles = GroupRoles {
            admin: texts(&["root", "ops"]),
            operator: texts(&["staff"]),
            reader: texts(&["all", ""]),
        };
        for (groups, role) in [
            (&["all", "staff", "ops"][..], Some(Role::Admin)),
            (&["all", "staff"], Some(Role::Operator)),
            (&["all"], Some(Role::Reader)),
            (&["Ops", "root "], None),
            (&[], None),
        ] {
            assert_eq!(roles.role(&texts(groups)), role, "{groups:?}");
        }
        assert!(!roles.is_empty() && GroupRoles::default().is_empty());
        assert_eq!(GroupRoles::default().role(&texts(&["all"])), None);
    }
}

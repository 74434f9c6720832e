//! The names and addresses that a server is reached by.

use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use rustls::pki_types::{DnsName, ServerName};

/// DNS names and addresses, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// A text that is neither a DNS name nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a DNS name nor an IP address")]
pub struct NamesError {
    text: String,
}

impl Names {
    /// More than this many are refused: the certificate travels in every handshake.
    pub const MAX: usize = 100;

    /// Takes names and addresses as people write them.
    ///
    /// # Errors
    /// [`NamesError`] for the first that is none, or the one after [`Names::MAX`].
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, NamesError> {
        let mut names = Self::default();
        for text in texts {
            let text = text.as_ref().trim();
            let refused = || NamesError {
                text: text.chars().take(100).collect(),
            };
            if names.dns.len() + names.addresses.len() >= Self::MAX {
                return Err(refused());
            }
            match ServerName::try_from(text) {
                Ok(ServerName::DnsName(name)) => names.add_dns(&name),
                Ok(ServerName::IpAddress(address)) => names.add_address(address.into()),
                _ => return Err(refused()),
            }
        }
        Ok(names)
    }

    fn add_dns(&mut self, name: &DnsName<'_>) {
        let name = name.as_ref().to_ascii_lowercase();
        if !self.dns.contains(&name) {
            self.dns.push(name);
        }
    }

    fn add_address(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty()
    }

    /// As subject alternative names. What rcgen does not take was refused before.
    pub(super) fn subject_names(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let mut names = Vec::new();
        for name in &self.dns {
            names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        Ok(names)
    }

    /// As bounds of an authority: these names with what is below them, these addresses, nothing else.
    /// A kind of which none is permitted is excluded whole, because a constraint on one kind says
    /// nothing of the others.
    pub(super) fn constraints(&self) -> Option<NameConstraints> {
        if self.is_empty() {
            return None;
        }
        let mut bounds = NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: Vec::new(),
        };
        for name in &self.dns {
            let name = GeneralSubtree::DnsName(name.clone());
            bounds.permitted_subtrees.push(name);
        }
        if self.dns.is_empty() {
            let all = GeneralSubtree::DnsName(String::new());
            bounds.excluded_subtrees.push(all);
        }
        let subnet = |address: &IpAddr| match address {
            IpAddr::V4(_) => CidrSubnet::from_addr_prefix(*address, 32),
            IpAddr::V6(_) => CidrSubnet::from_addr_prefix(*address, 128),
        };
        for address in &self.addresses {
            let address = GeneralSubtree::IpAddress(subnet(address));
            bounds.permitted_subtrees.push(address);
        }
        if self.addresses.is_empty() {
            for all in [
                CidrSubnet::V4([0; 4], [0; 4]),
                CidrSubnet::V6([0; 16], [0; 16]),
            ] {
                bounds
                    .excluded_subtrees
                    .push(GeneralSubtree::IpAddress(all));
            }
        }
        Some(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart_and_nothing_else_is_taken() {
        let names = Names::new([
            "Backup.example.com",
            "10.0.0.7",
            "::1",
            "backup.example.com",
        ]);
        let names = names.unwrap();
        assert_eq!(names.dns, ["backup.example.com"]);
        assert_eq!(names.addresses.len(), 2);
        for text in [
            "",
            "a b",
            "https://x",
            "x:8443",
            "*.example.com",
            "-",
            "é.de",
        ] {
            assert!(Names::new([text]).is_err(), "{text}");
        }
        let many = (0..=Names::MAX).map(|i| format!("h{i}"));
        assert!(Names::new(many).is_err());
    }
}

//! What jobs share: hosts, storage groups and vaults, and how many may run on each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::time::{Second, seconds};

/// A kind of thing that jobs share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A hypervisor node.
    Host,
    /// Storage that disks of several hosts lie on.
    Group,
    /// A vault.
    Vault,
}

/// A thing that jobs share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Which one.
    pub name: Arc<str>,
}

impl Resource {
    /// A resource by name.
    #[must_use]
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        let name = name.into();
        Self { kind, name }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Host => "host",
            ResourceKind::Group => "storage group",
            ResourceKind::Vault => "vault",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// What a resource bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many jobs may run on it at once. 0: it takes none for now.
    pub running: u32,
    /// How long after a start the next one may be, at most a minute. The starts are what is dear:
    /// a frozen guest, a swap of filters, the first reads.
    pub start_gap: Duration,
}

/// What a resource bears that nothing else is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Each host.
    pub host: Limit,
    /// Each storage group.
    pub group: Limit,
    /// Each vault.
    pub vault: Limit,
}

impl Default for Limits {
    /// Two jobs keep a host's disks and network busy; a storage group serves several hosts; a
    /// vault bears what its network and its disks do, and packs are made on the hosts.
    fn default() -> Self {
        let limit = |running, gap| Limit {
            running,
            start_gap: Duration::from_secs(gap),
        };
        Self {
            host: limit(2, 60),
            group: limit(8, 5),
            vault: limit(32, 1),
        }
    }
}

/// A resource as the scheduler keeps it.
#[derive(Debug)]
pub(crate) struct Used {
    pub resource: Resource,
    pub limit: u32,
    /// Seconds between two starts.
    pub gap: Second,
    /// Jobs that run on it.
    pub running: u32,
    /// The last start on it.
    pub started: Option<Second>,
    /// What is planned on it.
    pub ledger: Ledger,
}

impl Used {
    fn set(&mut self, limit: Limit) {
        self.limit = limit.running;
        self.gap = seconds(limit.start_gap).min(60);
    }

    /// The first moment at which the gap allows a start.
    pub(crate) fn gap_ends(&self) -> Second {
        self.started.map_or(Second::MIN, |at| at + self.gap)
    }
}

/// The resources an item uses, by number. Host, vault, and the group if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uses {
    numbers: [u32; 3],
    count: u8,
}

impl Uses {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let count = usize::from(self.count);
        self.numbers
            .iter()
            .take(count)
            .map(|number| *number as usize)
    }
}

/// All resources that were named so far. They are few beside the items, and none is forgotten.
#[derive(Debug)]
pub(crate) struct Resources {
    limits: Limits,
    numbers: BTreeMap<Resource, u32>,
    list: Vec<Used>,
}

impl Resources {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            numbers: BTreeMap::new(),
            list: Vec::new(),
        }
    }

    /// The number of a resource, which it gets when it is named first.
    pub(crate) fn number(&mut self, resource: Resource) -> u32 {
        if let Some(number) = self.numbers.get(&resource) {
            return *number;
        }
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let limit = match resource.kind {
            ResourceKind::Host => self.limits.host,
            ResourceKind::Group => self.limits.group,
            ResourceKind::Vault => self.limits.vault,
        };
        self.numbers.insert(resource.clone(), number);
        let mut used = Used {
            resource,
            limit: 0,
            gap: 0,
            running: 0,
            started: None,
            ledger: Ledger::default(),
        };
        used.set(limit);
        self.list.push(used);
        number
    }

    pub(crate) fn uses(&mut self, place: &crate::Place) -> Uses {
        let host = self.number(Resource::new(ResourceKind::Host, &place.host));
        let vault = self.number(Resource::new(ResourceKind::Vault, &place.vault));
        let group = place.group.as_deref();
        let group = group.map(|name| self.number(Resource::new(ResourceKind::Group, name)));
        Uses {
            numbers: [host, vault, group.unwrap_or_default()],
            count: 2 + u8::from(group.is_some()),
        }
    }

    pub(crate) fn set_limit(&mut self, resource: Resource, limit: Limit) {
        let number = self.number(resource);
        self.list[number as usize].set(limit);
    }

    pub(crate) fn get(&self, resource: &Resource) -> Option<&Used> {
        let number = self.numbers.get(resource)?;
        self.list.get(*number as usize)
    }

    pub(crate) fn list(&self) -> &[Used] {
        &self.list
    }

    pub(crate) fn list_mut(&mut self) -> &mut [Used] {
        &mut self.list
    }

    pub(crate) fn of(&self, uses: Uses) -> impl Iterator<Item = &Used> + '_ {
        let numbers: Vec<usize> = uses.iter().collect();
        numbers.into_iter().map(|number| &self.list[number])
    }
}

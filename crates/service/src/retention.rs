//! What retention asks of a vault: by the policies of its items and the rules of its VMs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use tresor_catalog::{
    Catalog, CatalogError, ItemFilter, ItemRecord, ItemState, VaultRecord, VmRecord,
};
use tresor_model::VmId;
use tresor_policy::{Policy, Rules};
use tresor_workflows::expire::Request;

/// For how long what retention removes can be brought back.
const GRACE: &str = "7d";

/// What says how long points are kept.
pub(crate) struct Keepers {
    vms: Vec<VmRecord>,
    items: BTreeMap<VmId, ItemRecord>,
    policies: BTreeMap<String, Policy>,
}

impl Keepers {
    pub(crate) async fn read(catalog: &Catalog) -> Result<Self, CatalogError> {
        let policies = catalog.all_policies().await?.into_iter();
        let items = catalog.all_items(&ItemFilter::default()).await?;
        Ok(Self {
            vms: catalog.vms().await?,
            items: items.into_iter().map(|item| (item.vm, item)).collect(),
            policies: policies
                .map(|record| (record.policy.name.clone(), record.policy))
                .collect(),
        })
    }

    /// What is asked of a vault; `None`: nothing says that anything goes.
    pub(crate) fn request(&self, vault: &VaultRecord, zone: &TimeZone) -> Option<Request> {
        let rules = self.rules(vault);
        let unwanted = self.unwanted(vault);
        (!rules.is_empty() || !unwanted.is_empty()).then(|| Request {
            vault: vault.id,
            rules,
            unwanted,
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            grace: GRACE.to_owned(),
        })
    }

    /// What is kept of each VM: by its policy; of one that has none, by its own rules. One of which nothing
    /// says that something goes is left out, and so is one whose protection was stopped.
    fn rules(&self, vault: &VaultRecord) -> BTreeMap<VmId, Rules> {
        let here = self.vms.iter().filter(|vm| vm.vault == vault.name);
        let rules = here.filter_map(|vm| {
            let rules = match self.items.get(&vm.id) {
                Some(item) if item.state != ItemState::Protected => return None,
                Some(item) => self.policies.get(&item.policy)?.retention.clone(),
                None => vm.retention.clone()?,
            };
            (rules != Rules::default()).then_some((vm.id, rules))
        });
        rules.collect()
    }

    /// The VMs whose protection was stopped with their data.
    fn unwanted(&self, vault: &VaultRecord) -> BTreeSet<VmId> {
        let stopped = self
            .items
            .values()
            .filter(|item| item.state == ItemState::StoppedDeleted && item.vault == vault.name);
        stopped.map(|item| item.vm).collect()
    }
}

/// The deletion of all that a vault has of one VM, whatever rules say.
#[must_use]
pub fn unwanted(vault: &VaultRecord, vm: VmId, zone: &TimeZone) -> Request {
    Request {
        vault: vault.id,
        rules: BTreeMap::new(),
        unwanted: BTreeSet::from([vm]),
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        grace: GRACE.to_owned(),
    }
}

/// What retention asks of a vault now; `None`: nothing says that anything goes.
///
/// # Errors
/// What the catalog says.
pub async fn retention_of(
    catalog: &Catalog,
    vault: &VaultRecord,
    zone: &TimeZone,
) -> Result<Option<Request>, CatalogError> {
    Ok(Keepers::read(catalog).await?.request(vault, zone))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tresor_catalog::Memory;

    use super::*;

    fn vm(name: &str, vault: &str, daily: Option<u32>) -> VmRecord {
        VmRecord {
            name: name.to_owned(),
            id: VmId::generate(),
            qmp_socket: "/run/x".into(),
            agent_socket: None,
            excluded_disks: Vec::new(),
            included_disks: Vec::new(),
            machine: None,
            vault: vault.to_owned(),
            retention: daily.map(|daily| Rules {
                daily,
                ..Rules::default()
            }),
            created_at: Timestamp::UNIX_EPOCH,
            host: None,
        }
    }

    fn item(vm: &VmRecord, state: ItemState) -> ItemRecord {
        ItemRecord {
            vm: vm.id,
            vm_name: vm.name.clone(),
            host: None,
            vault: vm.vault.clone(),
            policy: "nightly".to_owned(),
            state,
            since: Timestamp::UNIX_EPOCH,
            gone_since: None,
            memory: Memory::default(),
        }
    }

    #[test]
    fn the_policy_says_what_stays_else_the_vm_itself_and_what_is_stopped_keeps_all() {
        let vault = VaultRecord {
            name: "main".to_owned(),
            id: tresor_model::VaultId::generate(),
            location: "/srv/vault".to_owned(),
            key_source: "file:/x".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            settings: None,
            verify_share: None,
        };
        let vms = [
            vm("by policy", "main", Some(3)),
            vm("by itself", "main", Some(5)),
            vm("keeps all", "main", None),
            vm("stopped", "main", Some(3)),
            vm("elsewhere", "other", Some(3)),
            vm("unwanted", "main", Some(3)),
            vm("unwanted elsewhere", "other", Some(3)),
        ];
        let items = [
            item(&vms[0], ItemState::Protected),
            item(&vms[3], ItemState::StoppedKept),
            item(&vms[5], ItemState::StoppedDeleted),
            item(&vms[6], ItemState::StoppedDeleted),
        ];
        let nightly = Policy::nightly();
        let keepers = Keepers {
            vms: vms.to_vec(),
            items: items.into_iter().map(|item| (item.vm, item)).collect(),
            policies: BTreeMap::from([("nightly".to_owned(), nightly.clone())]),
        };
        let request = keepers.request(&vault, &TimeZone::UTC).unwrap();
        let own = vms[1].retention.clone().unwrap();
        let expected = BTreeMap::from([(vms[0].id, nightly.retention), (vms[1].id, own)]);
        assert_eq!(request.rules, expected);
        assert_eq!(request.unwanted, BTreeSet::from([vms[5].id]));
        let empty = VaultRecord {
            name: "empty".to_owned(),
            ..vault
        };
        assert_eq!(keepers.request(&empty, &TimeZone::UTC), None);
    }
}

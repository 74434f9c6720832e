//! Looking after vaults: what retention does not keep goes, and its space is freed, without anybody asking.
//!
//! Only queues: jobs of the local lane do it, wherever the vault can be reached. A run that failed or was missed is made up for by the next.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tresor_catalog::{Catalog, ItemRecord, VaultRecord, VmRecord};
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobQueue as _, NewJob, Ticket};
use tresor_model::{JobId, JobKind, VmId};
use tresor_policy::{Policy, Rules};
use tresor_workflows::{
    collect,
    expire::{self, Request},
};

use crate::{LOCAL_LANE, ServiceOptions, turn::TurnError};

const EXPIRE_EVERY: SignedDuration = SignedDuration::from_hours(1);
const COLLECT_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// After backups: what waits in the same lane and is later than they are.
const RANK: i64 = 10;
/// For how long what retention removes can be brought back.
const GRACE: &str = "7d";

/// Queues what is due for each vault.
pub(crate) async fn look_after_vaults(
    catalog: &Catalog,
    options: &ServiceOptions,
    items: &[ItemRecord],
    policies: &BTreeMap<String, Policy>,
) -> Result<(), TurnError> {
    let now = Timestamp::now();
    let vms = catalog.vms().await?;
    for vault in catalog.vaults().await? {
        let rules = rules_of(&vault, &vms, items, policies);
        if !rules.is_empty()
            && is_due(
                last(catalog, &vault, JobKind::Expire).await?,
                EXPIRE_EVERY,
                now,
            )
        {
            let request = Request {
                vault: vault.id,
                rules,
                zone: options.zone.iana_name().unwrap_or("UTC").to_owned(),
                grace: GRACE.to_owned(),
            };
            let plan = expire::plan(JobId::generate(), &vault.name, &request);
            enqueue(catalog, &plan.new_job(now)).await?;
        }
        if is_due(
            last(catalog, &vault, JobKind::Collect).await?,
            COLLECT_EVERY,
            now,
        ) {
            let plan = collect::plan(JobId::generate(), &vault.name, vault.id);
            enqueue(catalog, &plan.new_job(now)).await?;
        }
    }
    Ok(())
}

async fn enqueue(catalog: &Catalog, job: &NewJob) -> Result<(), TurnError> {
    let ticket = Ticket {
        lane: LOCAL_LANE.to_owned(),
        not_before: job.created_at,
        rank: RANK,
    };
    Ok(catalog.enqueue(job, &ticket).await?)
}

/// The last job of that kind for a vault.
async fn last(
    catalog: &Catalog,
    vault: &VaultRecord,
    kind: JobKind,
) -> Result<Option<JobHeader>, TurnError> {
    let filter = JobFilter {
        subject: Some(vault.name.clone()),
        kind: Some(kind),
        limit: Some(1),
        ..JobFilter::default()
    };
    Ok(catalog.list(&filter).await?.into_iter().next())
}

/// Whether it is time: the last one has ended and was made so long ago.
fn is_due(last: Option<JobHeader>, every: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| {
        last.state.is_final() && now.duration_since(last.job.created_at) >= every
    })
}

/// What is kept of each VM in a vault: by its policy; of one that has none, by its own rules. One of which
/// nothing says that something goes is left out, and so is one whose protection was stopped with its data kept.
fn rules_of(
    vault: &VaultRecord,
    vms: &[VmRecord],
    items: &[ItemRecord],
    policies: &BTreeMap<String, Policy>,
) -> BTreeMap<VmId, Rules> {
    let items: BTreeMap<_, _> = items.iter().map(|item| (item.vm, item)).collect();
    let here = vms.iter().filter(|vm| vm.vault == vault.name);
    let rules = here.filter_map(|vm| {
        let rules = match items.get(&vm.id) {
            Some(item) if item.state == tresor_catalog::ItemState::StoppedKept => return None,
            Some(item) => policies.get(&item.policy)?.retention.clone(),
            None => vm.retention.clone()?,
        };
        (rules != Rules::default()).then_some((vm.id, rules))
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use tresor_catalog::{ItemState, Memory};

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
        ];
        let items = [
            item(&vms[0], ItemState::Protected),
            item(&vms[3], ItemState::StoppedKept),
        ];
        let nightly = Policy::nightly();
        let policies = BTreeMap::from([("nightly".to_owned(), nightly.clone())]);
        let rules = rules_of(&vault, &vms, &items, &policies);
        let own = vms[1].retention.clone().unwrap();
        let expected = BTreeMap::from([(vms[0].id, nightly.retention), (vms[1].id, own)]);
        assert_eq!(rules, expected);
    }
}

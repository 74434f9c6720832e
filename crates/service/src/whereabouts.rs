//! Where a protected VM is: where it is registered, on another host, or nowhere.

use std::{collections::BTreeSet, path::PathBuf};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tresor_catalog::{
    Catalog, DatasourceFilter, DatasourceRecord, ItemRecord, ItemState, VmRecord,
};
use tresor_model::HostId;
use tresor_problem::{Kind, Problem};

use crate::{alarm, turn::TurnError};

/// A VM is missed when it was not found for so long: a host may be started anew meanwhile.
pub(crate) const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// Where a VM is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Where it is registered, as far as is known.
    Here,
    /// On another host, and nowhere else: it was moved.
    Moved(Place),
    /// On several other hosts at once: nobody can say which one is it.
    Several,
    /// Nowhere, not for long yet.
    Away,
    /// Nowhere.
    Vanished {
        /// Since when.
        since: Timestamp,
    },
}

/// A place where a VM answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: Option<HostId>,
    pub(crate) qmp_socket: PathBuf,
    pub(crate) agent_socket: Option<PathBuf>,
}

/// Decides about a VM that is registered on `home`, from all places where one with its UUID was found ever.
/// It is moved only when its old place does not answer any more and it runs at one other.
pub(crate) fn whereabouts(
    home: Option<HostId>,
    found: &[DatasourceRecord],
    now: Timestamp,
) -> Whereabouts {
    let at_home = found.iter().find(|record| record.host == home);
    // One that was never found was registered by hand: nothing is known of it.
    let Some(gone) = at_home.and_then(|record| record.gone_since) else {
        return Whereabouts::Here;
    };
    let runs = |record: &&DatasourceRecord| {
        record.host != home
            && record.gone_since.is_none()
            && record.seen.problem.is_none()
            && record.seen.state == "running"
    };
    let mut elsewhere = found.iter().filter(runs);
    match (elsewhere.next(), elsewhere.next()) {
        (Some(only), None) => Whereabouts::Moved(Place {
            host: only.host,
            qmp_socket: only.seen.qmp_socket.clone(),
            agent_socket: only.seen.agent_socket.clone(),
        }),
        (Some(_), Some(_)) => Whereabouts::Several,
        (None, _) if now.duration_since(gone) >= PATIENCE => Whereabouts::Vanished { since: gone },
        (None, _) => Whereabouts::Away,
    }
}

/// Follows protected VMs that were moved, and tells of those that are nowhere and of those that are back.
pub(crate) async fn follow(
    catalog: &Catalog,
    zone: &TimeZone,
    items: &[ItemRecord],
) -> Result<(), TurnError> {
    let is_missing = |item: &&ItemRecord| item.gone_since.is_some();
    let missing: BTreeSet<_> = items
        .iter()
        .filter(is_missing)
        .map(|item| &item.vm_name)
        .collect();
    for alert in alarm::open(catalog).await? {
        if alert.problem.is("VmVanished") && !missing.contains(&alert.subject) {
            let code = Some(alert.problem.code.as_str());
            alarm::quiet(catalog, zone, &alert.subject, code).await?;
        }
    }
    for item in items {
        let missing = item.state == ItemState::Protected && item.gone_since.is_some();
        if !missing {
            continue;
        }
        let filter = DatasourceFilter {
            vm: Some(item.vm),
            ..DatasourceFilter::default()
        };
        let found = catalog.all_datasources(&filter).await?;
        let now = Timestamp::now();
        match whereabouts(item.host, &found, now) {
            Whereabouts::Here | Whereabouts::Away => {}
            Whereabouts::Moved(place) => move_to(catalog, item, place).await?,
            Whereabouts::Several => {
                tracing::warn!(vm = item.vm_name, "several hosts have a VM of this UUID");
            }
            Whereabouts::Vanished { since } => {
                alarm::warn(catalog, zone, &item.vm_name, vanished(item, since)).await?;
            }
        }
    }
    Ok(())
}

async fn move_to(catalog: &Catalog, item: &ItemRecord, place: Place) -> Result<(), TurnError> {
    let vm = catalog.vm_by_id(item.vm).await?;
    let host = place.host.map(|host| host.to_string());
    tracing::info!(vm = vm.name, host, "the VM runs on another host now");
    let moved = VmRecord {
        host: place.host,
        qmp_socket: place.qmp_socket,
        agent_socket: place.agent_socket,
        ..vm
    };
    Ok(catalog.update_vm(&moved).await?)
}

fn vanished(item: &ItemRecord, since: Timestamp) -> Problem {
    Kind::VmVanished {
        vm: item.vm_name.clone(),
        since: since.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use tresor_catalog::Datasource;
    use tresor_model::VmId;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn record(host: Option<HostId>, state: &str, gone: Option<i64>) -> DatasourceRecord {
        DatasourceRecord {
            host,
            seen: Datasource {
                vm: VmId::generate(),
                name: "web01".to_owned(),
                qmp_socket: "/run/qemu/web01.qmp".into(),
                agent_socket: None,
                machine: None,
                state: state.to_owned(),
                problem: None,
            },
            first_seen: at(0),
            last_seen: at(0),
            gone_since: gone.map(at),
            protected: true,
        }
    }

    #[test]
    fn a_table_of_whereabouts() {
        let (a, b) = (Some(HostId::generate()), Some(HostId::generate()));
        let moved = Whereabouts::Moved(Place {
            host: a,
            qmp_socket: "/run/qemu/web01.qmp".into(),
            agent_socket: None,
        });
        let gone = |minute| record(None, "running", Some(minute));
        let with_problem = || {
            let mut record = record(a, "running", None);
            let what = "away".to_owned();
            record.seen.problem = Some(Kind::Internal { what }.into());
            record
        };
        let since = at(0);
        let cases = [
            ("never found", vec![], Whereabouts::Here),
            (
                "at home",
                vec![record(None, "running", None)],
                Whereabouts::Here,
            ),
            (
                "at home, switched off",
                vec![record(None, "stopped", None)],
                Whereabouts::Here,
            ),
            (
                "at home, and on a host: both run",
                vec![record(None, "running", None), record(a, "running", None)],
                Whereabouts::Here,
            ),
            (
                "never found at home, but on a host",
                vec![record(a, "running", None)],
                Whereabouts::Here,
            ),
            ("gone for a moment", vec![gone(61)], Whereabouts::Away),
            (
                "gone for an hour",
                vec![gone(0)],
                Whereabouts::Vanished { since },
            ),
            ("moved", vec![gone(119), record(a, "running", None)], moved),
            (
                "gone, and switched off elsewhere",
                vec![gone(0), record(a, "stopped", None)],
                Whereabouts::Vanished { since },
            ),
            (
                "gone from both",
                vec![gone(0), record(a, "running", Some(5))],
                Whereabouts::Vanished { since },
            ),
            (
                "gone, and not to be looked at elsewhere",
                vec![gone(0), with_problem()],
                Whereabouts::Vanished { since },
            ),
            (
                "gone, and on two hosts",
                vec![
                    gone(0),
                    record(a, "running", None),
                    record(b, "running", None),
                ],
                Whereabouts::Several,
            ),
        ];
        for (case, found, expected) in cases {
            assert_eq!(whereabouts(None, &found, at(120)), expected, "{case}");
        }
        // And back again.
        let back = [record(a, "running", Some(0)), record(None, "running", None)];
        let place = whereabouts(a, &back, at(120));
        assert!(
            matches!(place, Whereabouts::Moved(Place { host: None, .. })),
            "{place:?}"
        );
    }
}

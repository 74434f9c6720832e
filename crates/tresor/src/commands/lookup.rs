//! What users name, found by asking a service: VMs, vaults, recovery points.

use tresor_api_client::Client;
use tresor_api_types::{DatasourceQuery, ItemQuery, PageQuery, PointQuery};
use tresor_host::usage;
use tresor_model::{PointId, VmId};
use tresor_problem::{Kind, Problem};

use crate::args::{KeyArgs, PointSelector};

/// A protected VM, or one that was found, by its name or UUID.
pub(super) async fn vm(client: &Client, name: &str) -> Result<VmId, Problem> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let mut items = client.items(&ItemQuery {
        limit: Some(500),
        ..ItemQuery::default()
    });
    while let Some(item) = items.next().await? {
        if item.name == name {
            return Ok(item.vm);
        }
    }
    let mut found = client.datasources(&DatasourceQuery {
        gone: Some(false),
        limit: Some(500),
        ..DatasourceQuery::default()
    });
    let mut ids = Vec::new();
    while let Some(datasource) = found.next().await? {
        if datasource.name == name && !ids.contains(&datasource.vm) {
            ids.push(datasource.vm);
        }
    }
    match ids.as_slice() {
        [] => Err(Kind::VmNotFound {
            vm: name.to_owned(),
        }
        .into()),
        [only] => Ok(*only),
        _ => Err(usage(&format!(
            "Several VMs are called {name}: give one its UUID instead of a name."
        ))),
    }
}

/// The name of the vault that is meant: it has this name or lies there, or is the only one.
pub(super) async fn vault(
    client: &Client,
    wanted: Option<&str>,
    key: &KeyArgs,
) -> Result<String, Problem> {
    if key.key_file.is_some() || key.passphrase_file.is_some() {
        return Err(usage(
            "The service opens the vault, with the key that it finds: give none.",
        ));
    }
    let known = client.vaults(&PageQuery::default()).all().await?;
    let Some(wanted) = wanted else {
        return match known.as_slice() {
            [only] => Ok(only.name.clone()),
            [] => Err(usage(
                "The service knows no vault: `tresor vault create` or `tresor vault add` on its machine.",
            )),
            _ => Err(usage("Several vaults are known: say which with --vault.")),
        };
    };
    let named = known.iter().find(|vault| vault.name == wanted);
    let found = named.or_else(|| known.iter().find(|vault| vault.location == wanted));
    found.map(|vault| vault.name.clone()).ok_or_else(|| {
        usage(&format!(
            "The service knows no vault {wanted}: `tresor vault add` on its machine."
        ))
    })
}

/// The recovery point that is meant, in that vault if one is named.
pub(super) async fn point(
    client: &Client,
    vault: Option<&str>,
    selector: &PointSelector,
) -> Result<PointId, Problem> {
    let name = match selector {
        PointSelector::Id(id) => return Ok(*id),
        PointSelector::Latest(name) => name,
    };
    let missing = || Kind::PointNotFound {
        point: format!("of VM {name}"),
    };
    // By its identity where it has one: it may have had another name when they were made.
    let vm = match vm(client, name).await {
        Ok(vm) => Some(vm),
        Err(problem) if problem.is("VmNotFound") => None,
        Err(problem) => return Err(problem),
    };
    let mut points = client.points(&PointQuery {
        vm,
        vault: vault.map(str::to_owned),
        limit: Some(if vm.is_some() { 1 } else { 500 }),
        ..PointQuery::default()
    });
    while let Some(point) = points.next().await? {
        if vm.is_some() || point.vm_name == *name {
            return Ok(point.id);
        }
    }
    Err(missing().into())
}

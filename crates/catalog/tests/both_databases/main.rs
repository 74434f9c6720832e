//! The same suite on SQLite and on PostgreSQL: schema, repositories, job log.

mod alerts;
mod channels;
mod datasources;
mod first;
mod hosts;
mod items;
mod lanes;
mod leases;
mod links;
mod lists;
mod policies;
#[path = "../support/postgres.rs"]
mod postgres;
mod requests;
mod tallies;
mod tokens;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use postgres::Postgres;
use tresor_catalog::{Catalog, CatalogError, CatalogErrorKind, VmRecord};
use tresor_jobs::testing::{contract, queue};
use tresor_model::VmId;

#[tokio::test]
async fn sqlite() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("catalog.db");
    let [one, two] = [(); 2].map(|()| Catalog::open(&path));
    let one = Arc::new(one.await.expect("open"));
    check(&one, &two.await.expect("open")).await;
}

#[tokio::test]
async fn postgresql() {
    let server = Postgres::start();
    let (one, two) = (Arc::new(server.catalog().await), server.catalog().await);
    check(&one, &two).await;
    let one = Arc::into_inner(one).expect("the last one");
    one.close().await;
    // Once more on the schema that is there.
    contract::check_log(&server.catalog().await).await;
}

/// Two services on one database.
async fn check(one: &Arc<Catalog>, two: &Catalog) {
    contract::check_log(&**one).await;
    queue::check_queue(Arc::clone(one)).await;
    lanes::check(one).await;
    let vault = first::vaults(one).await;
    first::vms(one, &vault).await;
    first::points(one, vault.id).await;
    first::facts(one).await;
    first::verified(one, vault.id).await;
    first::removal(one, vault.id).await;
    hosts::check(one).await;
    links::check(one).await;
    datasources::check(one).await;
    policies::check(one, two).await;
    items::check(one).await;
    leases::check(one, two).await;
    tokens::check(one, two).await;
    alerts::check(one, two).await;
    requests::check(one, two).await;
    channels::check(one).await;
    tallies::check(one, two).await;
    lists::check(one).await;
}

fn now() -> Timestamp {
    let micros = Timestamp::now().as_microsecond();
    Timestamp::from_microsecond(micros).expect("now")
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn kind<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> CatalogErrorKind {
    result.expect_err("must be refused").kind
}

/// A VM in a vault of its own, on this machine.
async fn registered_vm(catalog: &Catalog, name: &str) -> VmRecord {
    let vault = first::vault(&format!("vault of {name}"));
    catalog.add_vault(&vault).await.expect("add");
    let vm = VmRecord {
        name: name.to_owned(),
        id: VmId::generate(),
        qmp_socket: "/run/qmp".into(),
        agent_socket: None,
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: None,
        host: None,
        vault: vault.name,
        retention: None,
        created_at: now(),
    };
    catalog.add_vm(&vm).await.expect("add");
    vm
}

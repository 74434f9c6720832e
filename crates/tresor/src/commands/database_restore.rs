//! `tresor catalog restore`: an installation from a vault alone, on a machine that knows nothing of it.
//!
//! # Order
//! The identity's files first: a database without them would make the next service another one, while files
//! without the database are the same again in the next try. Then the database, in one transaction; then this
//! machine's key for the vault, and the list of recovery points, which is newer than the backup.

use std::path::Path;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};
use tresor_catalog::{Catalog, HostRecord, Loading, VaultRecord};
use tresor_host::{KEY_FILE, Location, StateDir, VaultPlace, become_host, here, usage};
use tresor_identity::{PutBack, put_back};
use tresor_model::{HostId, RecoveryPoint};
use tresor_problem::{Kind, Problem};
use tresor_service::LOCAL_LANE;
use tresor_vault::Vault;
use tresor_vault_format::database::{DumpFile, DumpHead, Part};
use tresor_workflows::{
    database::{Backups, Source, source},
    vault_problem,
};

use super::{
    audit,
    open::open_vault,
    rebuild,
    session::{Session, print_problem},
    vault::give_key,
};
use crate::{
    args::{CatalogRestoreArgs, VaultAccess},
    output::note,
};

pub(super) async fn run(args: CatalogRestoreArgs, session: &Session) -> Result<(), Problem> {
    let location = Location::read(&args.vault, args.store.settings())?;
    let access = VaultAccess {
        vault: None,
        key: args.key.clone(),
    };
    let vault = open_vault(&VaultPlace::at(location.clone()), &access).await?;
    let backups = Backups::of(&vault).await?;
    if backups.others > 0 {
        note(&format!(
            "{} recovery points say that they are backups of a database, and were put by the holder of another \
             key: they are left out",
            backups.others
        ));
    }
    if args.list {
        return list(session, &backups);
    }
    let at = args.at.as_deref().map(moment).transpose()?;
    let chosen = backups.choose(vault.location(), args.installation, at)?;
    let point = vault.point(chosen.id).await;
    let point = point.map_err(|error| vault_problem(&error, vault.location()))?;

    let state = session.state_at(args.into.as_deref())?;
    let restored = restore(&args, session, &state, (&vault, &point)).await?;
    let catalog = session.catalog_in(&state).await?;
    let now = Timestamp::now();
    let noted = catalog.note_restored(now).await;
    noted.map_err(|error| Problem::from(&error))?;
    let known = keep_place(&catalog, &state, &vault, &location).await?;
    let names: Vec<String> = known.iter().map(|vault| vault.name.clone()).collect();
    let on = here(&state, &catalog).await?;
    let (points, vms) = rebuild::refill(&catalog, &names, &args.key, on).await?;
    let change = audit::Change {
        action: "catalog.restore",
        object: format!("point:{}", point.id),
        before: None,
        after: Some(json!({ "taken_at": point.taken_at, "vault": vault.location() })),
    };
    audit::note(&catalog, change).await?;
    let told = tell(&catalog, &state, &point, &restored, (points, &vms)).await?;
    let printed = session
        .output
        .result("catalog_restored", &told, || text(&told));
    printed.map_err(print_problem)
}

fn list(session: &Session, backups: &Backups) -> Result<(), Problem> {
    let rows: Vec<Value> = backups
        .own
        .iter()
        .map(|point| json!({ "taken_at": point.taken_at, "point": point.id, "installation": point.vm }))
        .collect();
    let cells = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ["taken_at", "point", "installation"].map(text).to_vec()
    };
    let header = ["taken at", "point", "installation"];
    let none = "the vault has no backup of a database";
    let printed = session
        .output
        .list("catalog_backup", &header, &rows, cells, none);
    printed.map_err(print_problem)
}

/// `2026-11-28`, `2026-11-28 12:30` in this machine's zone, or with a zone of its own.
fn moment(text: &str) -> Result<Timestamp, Problem> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text.parse::<civil::DateTime>().ok();
    let local = local.and_then(|time| time.to_zoned(TimeZone::system()).ok());
    local.map(|zoned| zoned.timestamp()).ok_or_else(|| {
        usage("--at takes a time like 2026-11-28, 2026-11-28T12:30 or 2026-11-28T12:30:00Z.")
    })
}

/// What was done, for who is told of it.
struct Restored {
    head: DumpHead,
    files: Vec<String>,
    /// Hosts that were machines of the service, when it is not clear which of them this one is.
    unclear: Vec<String>,
}

async fn restore(
    args: &CatalogRestoreArgs,
    session: &Session,
    state: &StateDir,
    (vault, point): (&Vault, &RecoveryPoint),
) -> Result<Restored, Problem> {
    let catalog = session.catalog_in(state).await?;
    let of_catalog = |error: tresor_catalog::CatalogError| Problem::from(&error);
    if !args.overwrite && !catalog.is_blank().await.map_err(of_catalog)? {
        let place = catalog.place().to_owned();
        return Err(Kind::CatalogPresent { place }.into());
    }
    let mut source = source(vault, point)?;
    let Some(Part::Head(head)) = source.next().await? else {
        return Err(source.unusable("its beginning is missing"));
    };
    let new = match (catalog.is_shared(), head.host) {
        // A machine that was alone becomes one of those that share a database.
        (true, None) => match here(state, &catalog).await? {
            Some(id) => Some(catalog.host(id).await.map_err(of_catalog)?),
            None => None,
        },
        _ => None,
    };
    let mut files = Vec::new();
    let mut loading = catalog.load_dump(&head).await.map_err(of_catalog)?;
    while let Some(part) = source.next().await? {
        match part {
            Part::File(file) => {
                keep_file(state, &file, args.overwrite)?;
                files.push(file.name);
            }
            Part::Table { name, columns } => {
                let begun = loading.table(&name, &columns).await;
                begun.map_err(|error| of_load(&source, &error))?;
            }
            Part::Row(row) => {
                let put = loading.row(row).await;
                put.map_err(|error| of_load(&source, &error))?;
            }
            Part::Head(_) | Part::End => {}
        }
    }
    let place = Place {
        head: &head,
        is_shared: catalog.is_shared(),
        as_host: args.as_host.as_deref(),
        new,
    };
    let unclear = place.take(&mut loading, state).await?;
    loading.finish().await.map_err(of_catalog)?;
    // What its connections have prepared was for other tables.
    if let Some(catalog) = std::sync::Arc::into_inner(catalog) {
        catalog.close().await;
    }
    Ok(Restored {
        head,
        files,
        unclear,
    })
}

/// What does not fit is the backup's defect, all else the database's.
fn of_load(source: &Source, error: &tresor_catalog::CatalogError) -> Problem {
    match error.kind {
        tresor_catalog::CatalogErrorKind::Damaged => {
            let below = std::error::Error::source(error);
            source.unusable(&below.map_or_else(|| error.to_string(), ToString::to_string))
        }
        _ => Problem::from(error),
    }
}

fn keep_file(state: &StateDir, file: &DumpFile, overwrite: bool) -> Result<(), Problem> {
    let path = state.path().join(&file.name);
    let kept = put_back(&path, file.text.as_bytes(), overwrite);
    match kept.map_err(|error| Problem::from(&error))? {
        PutBack::Done => Ok(()),
        PutBack::OtherIsThere => {
            let place = path.display().to_string();
            Err(Kind::CatalogPresent { place }.into())
        }
    }
}

/// In whose place this machine works.
struct Place<'a> {
    head: &'a DumpHead,
    is_shared: bool,
    as_host: Option<&'a str>,
    /// This machine as it is known to a shared database from now on.
    new: Option<HostRecord>,
}

impl Place<'_> {
    /// Makes it so; gives the names of those that it could be, when nobody has said which.
    async fn take(
        self,
        loading: &mut Loading<'_>,
        state: &StateDir,
    ) -> Result<Vec<String>, Problem> {
        let of_catalog = |error: tresor_catalog::CatalogError| Problem::from(&error);
        if self.head.host.is_none() {
            if let Some(new) = &self.new {
                loading.add_host(new).await.map_err(of_catalog)?;
                let moved = loading.move_host(None, Some(new.id), LOCAL_LANE).await;
                moved.map_err(of_catalog)?;
            }
            return Ok(Vec::new());
        }
        let hosts = loading.own_hosts().await.map_err(of_catalog)?;
        let from = match (self.as_host, hosts.as_slice()) {
            (Some(name), _) => Some(named(&hosts, name)?),
            (None, [(only, _)]) => Some(*only),
            (None, _) => None,
        };
        let Some(from) = from else {
            return Ok(hosts.into_iter().map(|(_, name)| name).collect());
        };
        if self.is_shared {
            become_host(state, from)?;
        } else {
            let moved = loading.move_host(Some(from), None, LOCAL_LANE).await;
            moved.map_err(of_catalog)?;
        }
        Ok(Vec::new())
    }
}

fn named(hosts: &[(HostId, String)], name: &str) -> Result<HostId, Problem> {
    let found = hosts.iter().find(|(_, known)| known == name);
    found.map(|(id, _)| *id).ok_or_else(|| {
        let known: Vec<_> = hosts.iter().map(|(_, name)| name.as_str()).collect();
        usage(&format!(
            "No machine of the service was called {name}; it had {}.",
            known.join(", ")
        ))
    })
}

/// Where the vault is now, and this machine's key for it. `None`: the database does not know the vault.
async fn keep_place(
    catalog: &Catalog,
    state: &StateDir,
    vault: &Vault,
    location: &Location,
) -> Result<Option<VaultRecord>, Problem> {
    let of_catalog = |error: tresor_catalog::CatalogError| Problem::from(&error);
    let known = catalog.vaults().await.map_err(of_catalog)?.into_iter();
    let Some(known) = known.into_iter().find(|known| known.id == vault.id()) else {
        note("the database does not know this vault: `tresor vault add` registers it");
        return Ok(None);
    };
    let key_file = give_key(state, vault, &known.name).await?;
    let (place, settings) = (location.to_string(), location.settings());
    let source = format!("{KEY_FILE}{}", key_file.display());
    let moved = catalog
        .move_vault(&known.name, &place, settings.as_deref(), &source)
        .await;
    moved.map_err(of_catalog)?;
    Ok(Some(known))
}

/// What came back, and what is to be done.
async fn tell(
    catalog: &Catalog,
    state: &StateDir,
    point: &RecoveryPoint,
    restored: &Restored,
    (points, vms): (usize, &[String]),
) -> Result<Value, Problem> {
    let of_catalog = |error: tresor_catalog::CatalogError| Problem::from(&error);
    let vaults = catalog.vaults().await.map_err(of_catalog)?;
    let without_key = vaults.iter().filter_map(|vault| {
        let file = vault.key_source.strip_prefix(KEY_FILE)?;
        (!Path::new(file).exists()).then(|| json!({ "vault": vault.name, "key_file": file }))
    });
    let without_key: Vec<_> = without_key.collect();
    let hosts = catalog.all_hosts().await.map_err(of_catalog)?;
    let hosts = hosts.iter().filter(|host| host.serial.is_some()).count();
    let policies = catalog.all_policies().await.map_err(of_catalog)?.len();
    let items = catalog
        .all_items(&tresor_catalog::ItemFilter::default())
        .await;
    Ok(json!({
        "point": point.id, "taken_at": point.taken_at, "installation": restored.head.installation,
        "state_dir": state.path(), "database": catalog.place(), "files": restored.files,
        "vaults": vaults.iter().map(|vault| &vault.name).collect::<Vec<_>>(),
        "without_key": without_key, "policies": policies,
        "items": items.map_err(of_catalog)?.len(), "hosts": hosts, "points": points,
        "new_vms": vms, "unclear_hosts": restored.unclear,
    }))
}

fn text(told: &Value) -> String {
    let count = |name: &str| told[name].as_u64().unwrap_or(0);
    let mut text = format!(
        "The database as it was at {} is in {}: {} policies, {} protected VMs, {} hosts. The vault knows {} \
         recovery points.\n\nTo do:\n  \
         - See to it that the old service does not come back: end it, remove its state directory.\n  \
         - Start the service: tresor serve --state-dir {}",
        told["taken_at"].as_str().unwrap_or_default(),
        told["database"].as_str().unwrap_or_default(),
        count("policies"),
        count("items"),
        count("hosts"),
        count("points"),
        told["state_dir"].as_str().unwrap_or_default(),
    );
    let mut item = |line: &str| {
        text.push_str("\n  - ");
        text.push_str(line);
    };
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    for missing in list("without_key") {
        item(&format!(
            "Vault {} has no key here: put its key file, or its recovery key as text, to {} (mode 0600).",
            missing["vault"].as_str().unwrap_or_default(),
            missing["key_file"].as_str().unwrap_or_default(),
        ));
    }
    if count("hosts") > 0 {
        item(
            "Hosts come back by themselves when the service is reached by the address they know; one whose \
             certificate has ended meanwhile (24 hours) enrols again: tresor hosts token NAME.",
        );
    }
    let unclear: Vec<_> = list("unclear_hosts")
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    if !unclear.is_empty() {
        item(&format!(
            "This machine is a new one to the database. If it stands for one of {}, give the command again with \
             --as-host NAME --overwrite.",
            unclear.join(", ")
        ));
    }
    item(
        "What was changed after the backup is to be changed again: API tokens that were revoked since are good \
         again, hosts that were let in since are not known. Tokens for hosts that were not used are void.",
    );
    text
}

//! `tresor vault …`

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use serde_json::json;
use tresor_catalog::{Catalog, VaultRecord};
use tresor_host::{KEY_FILE, Location, StateDir, VaultPlace, keys, usage};
use tresor_model::VaultId;
use tresor_problem::{Kind, Problem};
use tresor_vault::{CreateOptions, KeyMaterial, RecoveryKey, Vault};
use tresor_workflows::{near_disk, vault_problem};
use zeroize::Zeroizing;

use super::{
    doctor,
    open::{find_vault, open_vault, points},
    session::{Session, print_problem},
    unhide, vault_lock,
};
use crate::{
    args::{KeyArgs, ShareOrNone, StoreArgs, VaultAccess, VaultCommand},
    output::{bytes, note},
    recovery::{NewSvg, print_once},
};

pub(super) async fn run(command: VaultCommand, session: &Session) -> Result<(), Problem> {
    match command {
        VaultCommand::Create {
            path,
            name,
            passphrase_file,
            recovery_key_svg,
            store,
        } => {
            let location = Location::read(&path, store.settings())?;
            let svg = recovery_key_svg
                .as_deref()
                .map(NewSvg::reserve)
                .transpose()?;
            create(session, location, name, passphrase_file.as_deref(), svg).await
        }
        VaultCommand::Key(command) => super::key::run(command, session).await,
        VaultCommand::Add {
            path,
            name,
            key,
            store,
        } => add(session, Location::read(&path, store.settings())?, name, key).await,
        VaultCommand::Lock {
            vault,
            min_days,
            yes,
            key,
        } => {
            let access = VaultAccess {
                vault: Some(vault),
                key,
            };
            vault_lock::lock(session, &access, min_days, yes).await
        }
        VaultCommand::Doctor { vault, store } => doctor::run(session, vault, &store).await,
        VaultCommand::Set {
            name,
            verify_share,
            store,
        } => set(session, &name, verify_share, &store).await,
        VaultCommand::Unhide {
            vault,
            dry_run,
            store,
        } => unhide::run(session, vault.as_deref(), dry_run, &store).await,
        VaultCommand::List => list(session).await,
        VaultCommand::Show { access } => show(session, &access).await,
    }
}

async fn create(
    session: &Session,
    place: Location,
    name: Option<String>,
    passphrase_file: Option<&Path>,
    svg: Option<NewSvg>,
) -> Result<(), Problem> {
    let passphrase = passphrase_file.map(keys::passphrase).transpose()?;
    let newcomer = Newcomer::check(session, place, name).await?;
    let (key_file, key) = newcomer.make_key_file()?;
    let created = create_in(&newcomer.place, key, passphrase).await;
    let (vault, recovery) = created.inspect_err(|_| {
        // The key opens nothing; a leftover would only make the next try fail.
        std::fs::remove_file(&key_file).ok();
    })?;
    newcomer.register(&vault, &key_file).await?;
    let (name, location) = (&newcomer.name, &newcomer.location);
    let recovery_text = Zeroizing::new(recovery.to_text());
    let printed = print_once(&recovery_text, svg)?;
    let result = json!({
        "name": name, "id": vault.id(), "location": location,
        "key_file": key_file, "recovery_key": *recovery_text,
    });
    session
        .output
        .result("vault_created", &result, || {
            format!(
                "Vault {name} ({}) is ready in {location}.\n\
                 Key file for backups from this machine: {}\n\n\
                 Recovery key, shown only now. Write it down and keep it away from this machine;\n\
                 without it or the key file nobody can read the vault:\n\n{}",
                vault.id(),
                key_file.display(),
                *printed,
            )
        })
        .map_err(print_problem)?;
    if let Location::Directory(path) = &newcomer.place {
        warn_if_near(&newcomer.catalog, path).await;
    }
    Ok(())
}

/// Registers a vault that is there, and gives this machine a key of its own for it: the key that
/// opened it (the recovery key, say) need not stay here.
async fn add(
    session: &Session,
    place: Location,
    name: Option<String>,
    key: KeyArgs,
) -> Result<(), Problem> {
    let newcomer = Newcomer::check(session, place, name).await?;
    let place = VaultPlace::at(newcomer.place.clone());
    let vault = open_vault(&place, &VaultAccess { vault: None, key }).await?;
    let key_file = newcomer.add_key(&vault).await?;
    let (name, location) = (&newcomer.name, &newcomer.location);
    let result = json!({
        "name": name, "id": vault.id(), "location": location, "key_file": key_file,
    });
    session
        .output
        .result("vault_added", &result, || {
            format!(
                "Vault {name} ({}) in {location} is known here.\n\
                 Key file for backups from this machine: {}",
                vault.id(),
                key_file.display(),
            )
        })
        .map_err(print_problem)
}

/// A vault that this machine is about to know.
pub(super) struct Newcomer {
    state: StateDir,
    catalog: Arc<Catalog>,
    pub(super) name: String,
    place: Location,
    location: String,
}

impl Newcomer {
    /// Neither its name nor its place may be taken.
    pub(super) async fn check(
        session: &Session,
        place: Location,
        name: Option<String>,
    ) -> Result<Self, Problem> {
        let location = place.to_string();
        let name = name
            .or_else(|| place.short_name())
            .ok_or_else(|| usage("Give the vault a name with --name."))?;
        let state = session.state()?;
        let catalog = session.catalog().await?;
        let known = catalog
            .vaults()
            .await
            .map_err(|error| Problem::from(&error))?;
        if known.iter().any(|vault| vault.location == location) {
            return Err(Kind::VaultExists { location }.into());
        }
        if known.iter().any(|vault| vault.name == name) {
            let text = format!("A vault named {name} is known already: give --name.");
            return Err(usage(&text));
        }
        Ok(Self {
            state,
            catalog,
            name,
            place,
            location,
        })
    }

    /// Gives this machine a key of its own for a vault that was opened, and registers the vault.
    pub(super) async fn add_key(&self, vault: &Vault) -> Result<PathBuf, Problem> {
        let key_file = give_key(&self.state, vault, &self.name).await?;
        self.register(vault, &key_file).await?;
        Ok(key_file)
    }

    /// Makes a key, and a file that keeps it for this machine.
    fn make_key_file(&self) -> Result<(PathBuf, KeyMaterial), Problem> {
        make_key_file(&self.state, &self.name)
    }

    pub(super) async fn register(&self, vault: &Vault, key_file: &Path) -> Result<(), Problem> {
        let entry = VaultRecord {
            name: self.name.clone(),
            id: vault.id(),
            location: self.location.clone(),
            settings: self.place.settings(),
            key_source: format!("{KEY_FILE}{}", key_file.display()),
            created_at: jiff::Timestamp::now(),
            verify_share: None,
        };
        self.catalog
            .add_vault(&entry)
            .await
            .map_err(|error| Problem::from(&error))
    }
}

/// Gives this machine a key of its own for a vault that was opened.
pub(super) async fn give_key(
    state: &StateDir,
    vault: &Vault,
    name: &str,
) -> Result<PathBuf, Problem> {
    let (key_file, key) = make_key_file(state, name)?;
    let added = vault.add_key_slot(&key, name).await;
    added.map_err(|error| {
        std::fs::remove_file(&key_file).ok();
        vault_problem(&error, vault.location())
    })?;
    Ok(key_file)
}

fn make_key_file(state: &StateDir, name: &str) -> Result<(PathBuf, KeyMaterial), Problem> {
    let key_file = state.key_file(name);
    let key = keys::generate()?;
    keys::write_key_file(&key_file, &key).map_err(|error| {
        let path = key_file.display().to_string();
        let reason = error.to_string();
        Problem::caused_by(Kind::StateUnusable { path, reason }, &error)
    })?;
    Ok((key_file, KeyMaterial::KeyFile(key)))
}

async fn create_in(
    place: &Location,
    key: KeyMaterial,
    passphrase: Option<KeyMaterial>,
) -> Result<(Vault, RecoveryKey), Problem> {
    let location = place.to_string();
    let failed = |error| vault_problem(&error, &location);
    let backend = place.create().await?;
    let (vault, recovery) = Vault::create(backend.clone(), CreateOptions::new(key))
        .await
        .map_err(failed)?;
    // A directory refuses by itself what it cannot keep. Of a server only its answers are known, and
    // some accept a condition and ignore it. After the making: where deletes are refused, what the
    // trial leaves would be in the way of it.
    if let Location::Store(..) = place {
        let store = place.object_store()?;
        if let Err(unfit) = doctor::try_out(&store, &backend, &location).await {
            doctor::clear_or_hide(&store, &backend, "").await;
            return Err(unfit);
        }
    }
    if let Some(passphrase) = passphrase {
        vault
            .add_key_slot(&passphrase, "passphrase")
            .await
            .map_err(failed)?;
    }
    Ok((vault, recovery))
}

/// A vault on the disk of a VM is lost with it, and one on the disk that this machine runs from with
/// the VMs that are registered later.
async fn warn_if_near(catalog: &Catalog, path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    for vm in catalog.vms().await.unwrap_or_default() {
        let disks = vm.machine.map(|machine| machine.disks).unwrap_or_default();
        if let Some(near) = near_disk(path, &disks).await {
            let problem = Problem::from(near.problem(&vm.name, path));
            note(&format!("warning: {problem}"));
            for remedy in &problem.remedy {
                note(&format!("  {remedy}"));
            }
            return;
        }
    }
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    if device(path) == device(Path::new("/")) {
        note(
            "warning: the vault lies on this machine's root file system. If VMs are on the same \
             disk, it is lost together with them: keep the vault on another disk or machine, or a \
             second one there, which `tresor copy` keeps up to date (docs/second-copy.md).",
        );
    }
}

/// Notes how a store is reached, once the vault was seen there.
async fn set(
    session: &Session,
    name: &str,
    share: Option<ShareOrNone>,
    store: &StoreArgs,
) -> Result<(), Problem> {
    if let Some(share) = share {
        set_share(session, name, share).await?;
    }
    match (share, *store != StoreArgs::default()) {
        (_, true) => set_store(session, name, store).await,
        (Some(_), false) => Ok(()),
        (None, false) => Err(usage("Nothing to change: see `tresor vault set --help`.")),
    }
}

async fn set_store(session: &Session, name: &str, store: &StoreArgs) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let known = catalog.vault(name).await;
    let known = known.map_err(|error| Problem::from(&error))?;
    let place = Location::read(Path::new(&known.location), store.settings())?;
    let failed = |error| vault_problem(&error, &known.location);
    let found = Vault::identify(place.open(None).await?).await;
    if found.map_err(failed)? != known.id {
        return Err(usage("Another vault answers there: nothing was changed."));
    }
    let settings = place.settings();
    let noted = catalog.set_vault_settings(name, settings.as_deref()).await;
    noted.map_err(|error| Problem::from(&error))?;
    let result = json!({ "name": name, "location": known.location });
    session
        .output
        .result("vault_changed", &result, || {
            format!(
                "Vault {name} in {} is reached so from now on.",
                known.location
            )
        })
        .map_err(print_problem)
}

async fn list(session: &Session) -> Result<(), Problem> {
    let vaults = session.catalog().await?.vaults().await;
    let vaults = vaults.map_err(|error| Problem::from(&error))?;
    let vaults: Vec<_> = vaults.into_iter().map(Row::from).collect();
    session
        .output
        .list(
            "vault",
            &["name", "location", "id"],
            &vaults,
            |vault| {
                vec![
                    vault.name.clone(),
                    vault.location.clone(),
                    vault.id.to_string(),
                ]
            },
            "no vaults are known here: `tresor vault create DIR` makes one",
        )
        .map_err(print_problem)
}

async fn set_share(session: &Session, name: &str, share: ShareOrNone) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let problem = |error: tresor_catalog::CatalogError| Problem::from(&error);
    let vault = catalog.vault(name).await.map_err(problem)?;
    let changed = catalog.set_verify_share(&vault.name, share.0).await;
    changed.map_err(problem)?;
    let shown = share.0.map(|share| share.to_string());
    let result = json!({ "name": vault.name, "id": vault.id, "verify_share": shown });
    session
        .output
        .result("vault_changed", &result, || match &shown {
            Some(share) => format!("After each backup, {share} of vault {name} is read back."),
            None => format!("After a backup, nothing of vault {name} is read back."),
        })
        .map_err(print_problem)
}

/// A vault in a list.
#[derive(Serialize)]
struct Row {
    name: String,
    id: VaultId,
    location: String,
}

impl From<VaultRecord> for Row {
    fn from(vault: VaultRecord) -> Self {
        Self {
            name: vault.name,
            id: vault.id,
            location: vault.location,
        }
    }
}

async fn show(session: &Session, access: &VaultAccess) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let place = find_vault(&catalog, access.vault.as_deref(), None).await?;
    let vault = open_vault(&place, access).await?;
    let points = points(&vault).await?;
    let usage = vault
        .usage()
        .await
        .map_err(|error| vault_problem(&error, vault.location()))?;
    let lock_days = vault.lock_days().await;
    let lock_days = lock_days.map_err(|error| vault_problem(&error, vault.location()))?;
    let mut vms: Vec<_> = points.iter().map(|point| point.vm_name.as_str()).collect();
    vms.sort_unstable();
    vms.dedup();
    let newest = points.last().map(|point| point.taken_at);
    let result = json!({
        "id": vault.id(), "location": vault.location(), "points": points.len(), "vms": vms,
        "newest": newest, "lock_days": lock_days, "objects": usage.objects, "stored_bytes": usage.bytes,
        "verify_share": place.verify_share.map(|share| share.to_string()),
    });
    session
        .output
        .result("vault", &result, || {
            format!(
                "Vault {} in {}\n  recovery points: {} of {} VMs{}\n  stored: {} in {} objects{}",
                vault.id(),
                vault.location(),
                points.len(),
                vms.len(),
                newest.map_or(String::new(), |at| format!(", newest of {at}")),
                bytes(usage.bytes),
                usage.objects,
                match lock_days {
                    0 => String::new(),
                    days =>
                        format!("\n  locked: each recovery point stays for at least {days} days"),
                },
            )
        })
        .map_err(print_problem)
}

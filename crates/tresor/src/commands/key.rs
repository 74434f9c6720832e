//! `tresor vault key …`

use std::{io::IsTerminal as _, path::Path};

use serde::Serialize;
use serde_json::json;
use tresor_host::{keys, usage};
use tresor_problem::{Kind, Problem};
use tresor_vault::{KeyMaterial, SlotInfo, SlotKey, SlotList, Vault};
use tresor_workflows::vault_problem;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    open,
    session::{Session, print_problem},
};
use crate::{
    args::{KeyAddArgs, KeyCommand, KeyRemoveArgs, VaultAccess},
    output::note,
    recovery::{NewSvg, print_once},
};

pub(super) async fn run(command: KeyCommand, session: &Session) -> Result<(), Problem> {
    match command {
        KeyCommand::List { access } => list(session, &access).await,
        KeyCommand::Add(args) => add(session, args).await,
        KeyCommand::Remove(args) => remove(session, &args).await,
        KeyCommand::Rotate { access, domain } => rotate(session, &access, domain).await,
    }
}

async fn opened(session: &Session, access: &VaultAccess) -> Result<Vault, Problem> {
    let catalog = session.catalog().await?;
    open::vault(&catalog, access).await
}

async fn slots(vault: &Vault) -> Result<SlotList, Problem> {
    let list = vault.key_slots().await;
    let list = list.map_err(|error| vault_problem(&error, vault.location()))?;
    for damaged in &list.damaged {
        note(&format!("warning: a key slot cannot be read: {damaged}"));
    }
    Ok(list)
}

/// A slot in a list.
#[derive(Serialize)]
struct Row {
    slot: Uuid,
    key: &'static str,
    domain: &'static str,
    label: String,
    in_use: bool,
}

impl From<SlotInfo> for Row {
    fn from(slot: SlotInfo) -> Self {
        Self {
            slot: slot.id,
            key: kind(slot.key),
            domain: if slot.same_ring {
                "this one's"
            } else {
                "another"
            },
            label: slot.label,
            in_use: slot.in_use,
        }
    }
}

fn kind(key: SlotKey) -> &'static str {
    match key {
        SlotKey::Passphrase => "passphrase",
        SlotKey::KeyFile => "key file",
        SlotKey::Recovery => "recovery key",
    }
}

async fn list(session: &Session, access: &VaultAccess) -> Result<(), Problem> {
    let vault = opened(session, access).await?;
    let rows: Vec<Row> = slots(&vault)
        .await?
        .slots
        .into_iter()
        .map(Row::from)
        .collect();
    let cells = |row: &Row| {
        vec![
            row.slot.to_string(),
            row.key.to_owned(),
            row.label.clone(),
            row.domain.to_owned(),
            if row.in_use { "now" } else { "" }.to_owned(),
        ]
    };
    let header = ["slot", "key", "label", "keys", "in use"];
    session
        .output
        .list("key_slot", &header, &rows, cells, "no key slot can be read")
        .map_err(print_problem)
}

async fn add(session: &Session, args: KeyAddArgs) -> Result<(), Problem> {
    let vault = opened(session, &args.access).await?;
    let svg = args.recovery_key_svg.as_deref().map(NewSvg::reserve);
    let svg = svg.transpose()?;
    let new = &args.new;
    let (material, default_label) = if let Some(path) = &new.new_key_file {
        (key_file(path)?, "key file")
    } else if let Some(path) = &new.new_passphrase_file {
        (keys::passphrase(path)?, "passphrase")
    } else {
        let made = tresor_vault::new_recovery_key();
        let made = made.map_err(|error| vault_problem(&error, vault.location()))?;
        let text = Zeroizing::new(made.to_text());
        (KeyMaterial::Recovery(text), "recovery key")
    };
    let label = match args.label.as_str() {
        "" => default_label,
        given => given,
    };
    let failed = |error| vault_problem(&error, vault.location());
    if args.own_domain {
        let host = vault.add_host_domain(&material, label).await;
        let host = host.map_err(failed)?;
        let result = json!({ "slot": host.slot, "domain": host.ring, "label": label });
        let text = || {
            format!(
                "Key slot {} ({label}) opens a domain of its own.\n\
                 For `tresor vault key rotate --domain`: {}",
                host.slot, host.ring
            )
        };
        let printed = session.output.result("key_added", &result, text);
        return printed.map_err(print_problem);
    }
    let slot = vault.add_key_slot(&material, label).await;
    show_added(session, slot.map_err(failed)?, label, &material, svg)
}

fn show_added(
    session: &Session,
    slot: Uuid,
    label: &str,
    material: &KeyMaterial,
    svg: Option<NewSvg>,
) -> Result<(), Problem> {
    let added = format!("Key slot {slot} ({label}) opens the vault.");
    let mut result = json!({ "slot": slot, "label": label });
    let mut text = Zeroizing::new(added);
    if let KeyMaterial::Recovery(key) = material {
        let printed = print_once(key, svg)?;
        result["recovery_key"] = json!(key.as_str());
        text.push_str("\nRecovery key, shown only now:\n\n");
        text.push_str(&printed);
    }
    session
        .output
        .result("key_added", &result, || text.to_string())
        .map_err(print_problem)
}

/// The key in a file, which is made where there is none.
fn key_file(path: &Path) -> Result<KeyMaterial, Problem> {
    if !path.exists() {
        let key = keys::generate()?;
        keys::write_key_file(path, &key).map_err(|error| {
            let file = path.display();
            usage(&format!("The key file {file} cannot be made: {error}."))
        })?;
    }
    Ok(KeyMaterial::KeyFile(keys::read_secret(path)?))
}

async fn remove(session: &Session, args: &KeyRemoveArgs) -> Result<(), Problem> {
    let vault = opened(session, &args.access).await?;
    let known = slots(&vault).await?.slots;
    if let Some(slot) = known.into_iter().find(|slot| slot.id == args.slot) {
        note(&format!(
            "Key slot {} ({}, {}) will be removed from {}. It cannot be undone, and it does not undo \
             this: whoever kept a copy of the slot and has its key still opens the vault.",
            slot.id,
            kind(slot.key),
            slot.label,
            vault.location()
        ));
        confirm(args.yes)?;
    }
    let removed = vault.remove_key_slot(args.slot).await;
    removed.map_err(|error| vault_problem(&error, vault.location()))?;
    let result = json!({ "slot": args.slot });
    session
        .output
        .result("key_removed", &result, || {
            format!("Key slot {} is removed.", args.slot)
        })
        .map_err(print_problem)
}

fn confirm(yes: bool) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(usage("Nothing was changed. To remove the slot, add --yes."));
    }
    note("Type yes to agree:");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    let what = "Removing the key".to_owned();
    Err(Kind::Interrupted { what }.into())
}

async fn rotate(
    session: &Session,
    access: &VaultAccess,
    domain: Option<Uuid>,
) -> Result<(), Problem> {
    let vault = opened(session, access).await?;
    let number = vault.rotate_data_key(domain).await;
    let number = number.map_err(|error| vault_problem(&error, vault.location()))?;
    let result = json!({ "data_key": number, "domain": domain });
    session
        .output
        .result("key_rotated", &result, || {
            format!("What is stored from now on is sealed by data key {number}.")
        })
        .map_err(print_problem)
}

//! Which of several machines on one catalog this one is.
//!
//! With a catalog of its own, a machine has no id: what lies on it has no host. On a shared catalog each state
//! directory is a host, with an id that it keeps.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tresor_catalog::{Catalog, CatalogError, CatalogErrorKind, HostRecord, HostState, Object};
use tresor_model::HostId;
use tresor_problem::{Kind, Problem};

use crate::state::StateDir;

/// The host that this state directory is; `None` with a catalog of its own. The catalog knows the host
/// afterwards.
///
/// # Errors
/// `StateUnusable` when the id can be neither read nor kept; what the catalog says.
pub async fn here(state: &StateDir, catalog: &Catalog) -> Result<Option<HostId>, Problem> {
    if !catalog.is_shared() {
        return Ok(None);
    }
    let path = state.path().join("host-id");
    let id = kept_id(&path).map_err(|error| {
        let (path, reason) = (path.display().to_string(), error.to_string());
        Problem::caused_by(Kind::StateUnusable { path, reason }, &error)
    })?;
    let known = make_known(catalog, id).await;
    known.map_err(|error| Problem::from(&error))?;
    Ok(Some(id))
}

/// Makes this state directory the host of that id, in the place of a machine that is gone.
///
/// # Errors
/// `StateUnusable` when it is another host already, or the id cannot be kept.
pub fn become_host(state: &StateDir, host: HostId) -> Result<(), Problem> {
    let path = state.path().join("host-id");
    let kept = keep_id(&path, host);
    let kept = kept.and_then(|()| parse(&fs::read_to_string(&path)?));
    let unusable = |reason: String| {
        let path = path.display().to_string();
        Problem::from(Kind::StateUnusable { path, reason })
    };
    match kept {
        Ok(kept) if kept == host => Ok(()),
        Ok(kept) => Err(unusable(format!("this machine is host {kept} already"))),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// What a host that is part of `tresor serve` says of itself.
#[must_use]
pub fn embedded() -> Value {
    json!({ "embedded": true })
}

async fn make_known(catalog: &Catalog, id: HostId) -> Result<(), CatalogError> {
    let node = rustix::system::uname();
    let node = node.nodename().to_string_lossy().into_owned();
    // Two state directories of one machine are two hosts.
    let text = id.to_string();
    let end = text.rsplit('-').next().unwrap_or_default();
    let names = [node.clone(), format!("{node}-{end}"), text.clone()];
    for name in names {
        match catalog.host(id).await {
            Err(error) if error.kind == CatalogErrorKind::NotFound(Object::Host) => {}
            known => return known.map(|_| ()),
        }
        let host = HostRecord {
            id,
            name,
            state: HostState::Enrolled,
            serial: None,
            enrolled_at: Timestamp::now(),
            last_seen: None,
            version: None,
            capabilities: embedded(),
        };
        match catalog.add_host(&host).await {
            Err(error) if error.kind == CatalogErrorKind::AlreadyExists(Object::Host) => {}
            added => return added,
        }
    }
    catalog.host(id).await.map(|_| ())
}

/// Reads the id, or makes one. Of several processes that do so at once all get the same.
fn kept_id(path: &Path) -> io::Result<HostId> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return parse(&read?),
    }
    keep_id(path, HostId::generate())?;
    parse(&fs::read_to_string(path)?)
}

/// Keeps an id, unless there is one: the first one stays.
fn keep_id(path: &Path, id: HostId) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn parse(text: &str) -> io::Result<HostId> {
    let id = text.trim().parse::<HostId>();
    id.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/host-id");
        let id = kept_id(&path).unwrap();
        assert_eq!(kept_id(&path).unwrap(), id);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["host-id"]);
        fs::write(&path, "what").unwrap();
        let error = kept_id(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

//! Copies of recovery points in other vaults that this machine can open.
//!
//! Nothing is opened before a copy is asked for. A vault that cannot be opened has none.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::OnceCell;
use tresor_catalog::Catalog;
use tresor_host::VaultPlace;
use tresor_model::{PointId, RecoveryPoint, StreamName, VaultId};
use tresor_problem::Problem;
use tresor_vault::{Copies, StreamReader, Vault};

use super::open::open_vault;
use crate::{
    args::{KeyArgs, VaultAccess},
    output::note,
};

/// The first backup that a point is or is a copy of.
type Origin = (VaultId, PointId);

/// Other vaults than the one that is read, and what they have copies of.
pub(crate) struct OtherVaults {
    places: Vec<(VaultPlace, VaultAccess)>,
    opened: OnceCell<Vec<(Vault, HashMap<Origin, PointId>)>>,
}

impl OtherVaults {
    /// All that this machine knows, but this one.
    pub(crate) async fn known(catalog: &Catalog, but: &Vault) -> Result<Arc<Self>, Problem> {
        let vaults = catalog.vaults().await;
        let vaults = vaults.map_err(|error| Problem::from(&error))?;
        let others = vaults.iter().filter(|vault| vault.id != but.id());
        let places: Result<Vec<_>, Problem> = others
            .map(|vault| Ok((VaultPlace::of(vault)?, no_options())))
            .collect();
        Ok(Arc::new(Self {
            places: places?,
            opened: OnceCell::new(),
        }))
    }

    /// This one alone.
    pub(crate) fn only(place: VaultPlace, access: VaultAccess) -> Arc<Self> {
        Arc::new(Self {
            places: vec![(place, access)],
            opened: OnceCell::new(),
        })
    }

    /// The copies of a point of that vault.
    pub(crate) fn copies(self: &Arc<Self>, of: VaultId, point: &RecoveryPoint) -> Arc<dyn Copies> {
        let copied = point.copied_from.map(|from| (from.vault, from.point));
        Arc::new(CopiesOf {
            others: Arc::clone(self),
            origin: copied.unwrap_or((of, point.id)),
            points: OnceCell::new(),
        })
    }

    async fn opened(&self) -> &[(Vault, HashMap<Origin, PointId>)] {
        self.opened
            .get_or_init(|| async {
                let mut opened = Vec::new();
                for (place, access) in &self.places {
                    match open_one(place, access).await {
                        Ok(vault) => opened.push(vault),
                        Err(problem) => note(&format!(
                            "warning: {} is not looked into for copies: {problem}",
                            place.location
                        )),
                    }
                }
                opened
            })
            .await
    }
}

async fn open_one(
    place: &VaultPlace,
    access: &VaultAccess,
) -> Result<(Vault, HashMap<Origin, PointId>), Problem> {
    let vault = open_vault(place, access).await?;
    let points = super::open::points(&vault).await?;
    let origins = points
        .iter()
        .map(|point| (point.origin(vault.id()), point.id));
    let origins = origins.collect();
    Ok((vault, origins))
}

/// For vaults whose keys are where the catalog says.
fn no_options() -> VaultAccess {
    VaultAccess {
        vault: None,
        key: KeyArgs {
            key_file: None,
            passphrase_file: None,
        },
    }
}

struct CopiesOf {
    others: Arc<OtherVaults>,
    origin: Origin,
    points: OnceCell<Vec<(Vault, RecoveryPoint)>>,
}

impl CopiesOf {
    async fn points(&self) -> &[(Vault, RecoveryPoint)] {
        self.points
            .get_or_init(|| async {
                let mut points = Vec::new();
                for (vault, origins) in self.others.opened().await {
                    let Some(id) = origins.get(&self.origin) else {
                        continue;
                    };
                    match vault.point(*id).await {
                        Ok(point) => points.push((vault.clone(), point)),
                        Err(error) => note(&format!(
                            "warning: the copy in {} cannot be read: {error}",
                            vault.location()
                        )),
                    }
                }
                points
            })
            .await
    }
}

impl Copies for CopiesOf {
    fn stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Option<(StreamReader, String)>> {
        async move {
            for (vault, point) in self.points().await {
                let disks = point.disks.iter().map(|disk| &disk.stream);
                let mut streams = disks.chain(&point.attachments);
                if let Some(stream) = streams.find(|stream| stream.name == *name)
                    && let Ok(reader) = vault.reader(stream)
                {
                    return Some((reader, vault.location().to_owned()));
                }
            }
            None
        }
        .boxed()
    }
}

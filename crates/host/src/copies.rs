//! Copies of recovery points in other vaults that this machine can open: where a vault has lost something,
//! a reader goes on with them.
//!
//! Nothing is opened before a copy is asked for. A vault that cannot be opened has none.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::OnceCell;
use tresor_catalog::Catalog;
use tresor_model::{PointId, RecoveryPoint, StreamName, VaultId};
use tresor_problem::Problem;
use tresor_vault::{Copies, StreamReader, Vault};
use tresor_workflows::vault_problem;

use crate::{
    keys::KeyChoice,
    place::{Manner, VaultPlace, open_vault_at},
};

/// Who hears of vaults that are of no help.
type Tell = fn(&str);

/// The first backup that a point is or is a copy of.
type Origin = (VaultId, PointId);

/// Other vaults than the one that is read, and what they have copies of.
pub struct OtherVaults {
    places: Vec<(VaultPlace, KeyChoice)>,
    tell: Tell,
    opened: OnceCell<Vec<(Vault, HashMap<Origin, PointId>)>>,
}

impl OtherVaults {
    /// All that this machine knows, but this one.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn known(catalog: &Catalog, but: &Vault, tell: Tell) -> Result<Arc<Self>, Problem> {
        let vaults = catalog.vaults().await;
        let vaults = vaults.map_err(|error| Problem::from(&error))?;
        let others = vaults.iter().filter(|vault| vault.id != but.id());
        let places: Result<Vec<_>, Problem> = others
            .map(|vault| Ok((VaultPlace::of(vault)?, KeyChoice::default())))
            .collect();
        Ok(Arc::new(Self {
            places: places?,
            tell,
            opened: OnceCell::new(),
        }))
    }

    /// This one alone.
    #[must_use]
    pub fn only(place: VaultPlace, key: KeyChoice, tell: Tell) -> Arc<Self> {
        Arc::new(Self {
            places: vec![(place, key)],
            tell,
            opened: OnceCell::new(),
        })
    }

    /// The copies of a point of that vault.
    #[must_use]
    pub fn copies(self: &Arc<Self>, of: VaultId, point: &RecoveryPoint) -> Arc<dyn Copies> {
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
                for (place, key) in &self.places {
                    match open_one(place, key).await {
                        Ok(vault) => opened.push(vault),
                        Err(problem) => (self.tell)(&format!(
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
    key: &KeyChoice,
) -> Result<(Vault, HashMap<Origin, PointId>), Problem> {
    let vault = open_vault_at(place, key, Manner::default()).await?;
    let list = vault.points().await;
    let list = list.map_err(|error| vault_problem(&error, vault.location()))?;
    let origins = list
        .points
        .iter()
        .map(|point| (point.origin(vault.id()), point.id));
    let origins = origins.collect();
    Ok((vault, origins))
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
                        Err(error) => (self.others.tell)(&format!(
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

//! Where else a chunk or a node lies, when the place that a hint names is broken.
//!
//! Nothing is looked up before something is broken, so that whole vaults never pay for it. Then
//! the index is read once for all nodes, and once more for each broken pack: for all of its chunks
//! together. Locations found here are hints too: whoever reads them compares ids.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{IndexEntry, IndexRun, Location, PackContents, PackId, name};

use crate::error::Result;
use crate::known::{ListedPacks, TablePack, entries_of, list_names, read_contents, read_run};
use crate::vault::Inner;

type Id = [u8; 32];
/// Where parts lie.
pub(crate) type Places = HashMap<Id, Vec<Location>>;

/// Footers that are held at once.
const FOOTERS: usize = 64;

/// All places of these chunks and nodes, by one look at the index. Memory is for them alone.
pub(crate) async fn places_of(vault: &Arc<Inner>, ids: HashSet<Id>) -> Result<Places> {
    let index = Index::list(vault).await?;
    let is_wanted = |entry: &&IndexEntry| ids.contains(&entry.id);
    let (mut places, mut covered) = (Places::new(), Vec::new());
    let visit = |_, run: &IndexRun, sound: &ListedPacks| {
        covered.extend(packs_of(run));
        add(&mut places, run.entries.iter().filter(is_wanted), sound);
    };
    index.each_run(vault, 0..index.runs.len(), visit).await?;
    index
        .each_uncovered(vault, covered, |contents, sound| {
            add(
                &mut places,
                entries_of(contents).iter().filter(is_wanted),
                sound,
            );
        })
        .await?;
    Ok(places)
}

/// What was looked up so far.
#[derive(Default)]
pub(crate) struct Elsewhere(tokio::sync::Mutex<Option<Found>>);

struct Found {
    index: Index,
    /// The run, by its place in the list, that tells of a pack.
    run_of: HashMap<PackId, usize>,
    /// All nodes, and the chunks of packs that no run covers.
    nodes: Places,
    /// The chunks that were asked for.
    chunks: Places,
}

impl Elsewhere {
    /// Forgets everything: the vault has changed.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }

    /// Other places of a node than that pack.
    pub(crate) async fn of_node(
        &self,
        vault: &Arc<Inner>,
        id: &Id,
        broken: &PackId,
    ) -> Result<Vec<Location>> {
        let mut found = self.0.lock().await;
        let found = Found::get(&mut found, vault).await?;
        Ok(other_than(&found.nodes, id, broken))
    }

    /// Other places of a chunk than that pack.
    pub(crate) async fn of_chunk(
        &self,
        vault: &Arc<Inner>,
        id: &Id,
        broken: &PackId,
    ) -> Result<Vec<Location>> {
        let mut found = self.0.lock().await;
        let found = Found::get(&mut found, vault).await?;
        if !found.chunks.contains_key(id) {
            found.look_up(vault, id, broken).await?;
        }
        let mut places = other_than(&found.chunks, id, broken);
        places.extend(other_than(&found.nodes, id, broken));
        Ok(places)
    }

    /// Whether a pack is there and nobody has marked it as damaged.
    pub(crate) async fn is_sound(&self, vault: &Arc<Inner>, pack: &PackId) -> Result<bool> {
        let mut found = self.0.lock().await;
        Ok(Found::get(&mut found, vault)
            .await?
            .index
            .sound
            .has_id(pack))
    }
}

fn other_than(places: &Places, id: &Id, broken: &PackId) -> Vec<Location> {
    let all = places.get(id).into_iter().flatten();
    all.filter(|place| place.frame.pack != *broken)
        .copied()
        .collect()
}

impl Found {
    async fn get<'a>(found: &'a mut Option<Self>, vault: &Arc<Inner>) -> Result<&'a mut Self> {
        let now = match found.take() {
            Some(known) => known,
            None => Self::read(vault).await?,
        };
        Ok(found.insert(now))
    }

    /// Reads the index for all nodes.
    async fn read(vault: &Arc<Inner>) -> Result<Self> {
        let index = Index::list(vault).await?;
        let mut covered = Vec::new();
        let (mut run_of, mut nodes) = (HashMap::new(), HashMap::new());
        let all = 0..index.runs.len();
        let visit = |number, run: &IndexRun, sound: &ListedPacks| {
            run_of.extend(run.header.packs.iter().map(|pack| (pack.id, number)));
            covered.extend(packs_of(run));
            let is_node = |entry: &&IndexEntry| entry.location.size as usize != CHUNK_SIZE;
            add(&mut nodes, run.entries.iter().filter(is_node), sound);
        };
        index.each_run(vault, all, visit).await?;
        index
            .each_uncovered(vault, covered, |contents, sound| {
                add(&mut nodes, entries_of(contents).iter(), sound);
            })
            .await?;
        Ok(Self {
            index,
            run_of,
            nodes,
            chunks: HashMap::new(),
        })
    }

    /// Looks for a chunk, and for everything else that lies in the broken pack.
    async fn look_up(&mut self, vault: &Arc<Inner>, id: &Id, broken: &PackId) -> Result<()> {
        let mut wanted: HashSet<Id> = HashSet::from([*id]);
        if let Some(number) = self.run_of.get(broken).copied() {
            let in_pack = |entry: &&IndexEntry| entry.location.frame.pack == *broken;
            let visit = |_, run: &IndexRun, _: &ListedPacks| {
                wanted.extend(run.entries.iter().filter(in_pack).map(|entry| entry.id));
            };
            let one = number..number + 1;
            self.index.each_run(vault, one, visit).await?;
        }
        let mut places: Places = wanted.iter().map(|id| (*id, Vec::new())).collect();
        let all = 0..self.index.runs.len();
        let visit = |_, run: &IndexRun, sound: &ListedPacks| {
            let is_wanted = |entry: &&IndexEntry| wanted.contains(&entry.id);
            add(&mut places, run.entries.iter().filter(is_wanted), sound);
        };
        self.index.each_run(vault, all, visit).await?;
        self.chunks.extend(places);
        Ok(())
    }
}

/// The packs that are there and not marked as damaged, and the index runs, of all domains that the
/// holder has.
struct Index {
    sound: ListedPacks,
    runs: Vec<String>,
}

impl Index {
    async fn list(vault: &Arc<Inner>) -> Result<Self> {
        Ok(Self {
            sound: ListedPacks::list(vault).await?,
            runs: list_names(vault, name::INDEX).await?.into_iter().collect(),
        })
    }

    /// Reads index runs one after the other, some ahead. Damaged ones are left out.
    async fn each_run(
        &self,
        vault: &Arc<Inner>,
        numbers: std::ops::Range<usize>,
        mut visit: impl FnMut(usize, &IndexRun, &ListedPacks),
    ) -> Result<()> {
        let names = numbers.clone().zip(self.runs[numbers].iter().cloned());
        let names: Vec<_> = names.collect();
        let mut runs = stream::iter(names)
            .map(|(number, name)| {
                let vault = Arc::clone(vault);
                async move { (number, read_run(&vault, name, None).await) }
            })
            .buffered(vault.store.parallelism());
        while let Some((number, run)) = runs.next().await {
            if let Some(Some(run)) = run? {
                visit(number, &run, &self.sound);
            }
        }
        Ok(())
    }

    /// Reads the footers of packs that no run covers. Damaged ones are left out.
    async fn each_uncovered(
        &self,
        vault: &Arc<Inner>,
        covered: Vec<TablePack>,
        mut visit: impl FnMut(&PackContents, &ListedPacks),
    ) -> Result<()> {
        let uncovered = self.sound.without(covered.into_iter());
        for some in uncovered.chunks(FOOTERS) {
            for contents in read_contents(vault, some.to_vec()).await? {
                visit(&contents, &self.sound);
            }
        }
        Ok(())
    }
}

fn packs_of(run: &IndexRun) -> impl Iterator<Item = TablePack> {
    run.header.packs.iter().map(|pack| TablePack {
        id: pack.id,
        size: pack.size,
    })
}

fn add<'a>(
    places: &mut Places,
    entries: impl Iterator<Item = &'a IndexEntry>,
    sound: &ListedPacks,
) {
    for entry in entries.filter(|entry| sound.has_id(&entry.location.frame.pack)) {
        places.entry(entry.id).or_default().push(entry.location);
    }
}

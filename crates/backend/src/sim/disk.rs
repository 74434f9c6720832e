//! The two images of the disk, and what a power cut makes of them. No async, no faults: those
//! are `fs.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::rng::Rng;
use crate::local::FileKind;

/// What a name stands for. A directory needs no more: none is ever renamed, so its path tells
/// which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Directory,
}

/// A name's past: what is durable, and every state since the directory was synced, the last
/// being the live one.
#[derive(Debug, Clone, Default)]
struct Name {
    durable: Option<Node>,
    since: Vec<Option<Node>>,
}

impl Name {
    fn live(&self) -> Option<Node> {
        self.since.last().copied().unwrap_or(self.durable)
    }

    fn settle(&mut self) {
        self.durable = self.live();
        self.since.clear();
    }

    fn after_crash(&self, rng: &mut Rng) -> Option<Node> {
        match rng.below(self.since.len() + 1) {
            0 => self.durable,
            nth => self.since[nth - 1],
        }
    }
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    /// So many bytes are durable.
    synced: usize,
    /// A sync failed: what was not durable then never will be.
    poisoned: bool,
    written: Duration,
}

type Directory = BTreeMap<String, Name>;

/// The disk that all processes of the simulated machine share.
#[derive(Debug)]
pub(super) struct Disk {
    files: Vec<File>,
    directories: BTreeMap<String, Directory>,
    pub(super) rng: Rng,
    pub(super) clock: Duration,
    pub(super) temps_made: u64,
    /// No power: nothing answers.
    pub(super) down: bool,
    /// A directory's sync failed: nothing can be changed any more.
    pub(super) stopped: bool,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Disk {
    pub(super) fn empty(seed: u64) -> Self {
        Self {
            files: Vec::new(),
            directories: BTreeMap::from([(String::new(), Directory::new())]),
            rng: Rng::new(seed),
            clock: Duration::ZERO,
            temps_made: 0,
            down: false,
            stopped: false,
        }
    }

    pub(super) fn find(&self, path: &str) -> Option<Node> {
        let (dir, leaf) = split(path);
        self.directories.get(dir)?.get(leaf)?.live()
    }

    pub(super) fn has_directory(&self, dir: &str) -> bool {
        self.directories.contains_key(dir)
    }

    pub(super) fn body(&self, file: usize) -> Bytes {
        Bytes::copy_from_slice(&self.files[file].live)
    }

    pub(super) fn size(&self, file: usize) -> u64 {
        self.files[file].live.len() as u64
    }

    pub(super) fn age(&self, file: usize) -> Duration {
        self.clock.saturating_sub(self.files[file].written)
    }

    /// The live names of a directory.
    pub(super) fn names(&self, dir: &str) -> Vec<(String, FileKind, u64)> {
        let names = self.directories.get(dir).into_iter().flatten();
        names
            .filter_map(|(name, past)| match past.live()? {
                Node::File(file) => Some((name.clone(), FileKind::File, self.size(file))),
                Node::Directory => Some((name.clone(), FileKind::Directory, 0)),
            })
            .collect()
    }

    pub(super) fn create_file(&mut self) -> usize {
        self.files.push(File {
            written: self.clock,
            ..File::default()
        });
        self.files.len() - 1
    }

    pub(super) fn append(&mut self, file: usize, bytes: &[u8]) {
        let clock = self.clock;
        let file = &mut self.files[file];
        file.live.extend_from_slice(bytes);
        file.written = clock;
    }

    pub(super) fn sync_file(&mut self, file: usize) {
        let file = &mut self.files[file];
        if !file.poisoned {
            file.synced = file.live.len();
        }
    }

    pub(super) fn poison(&mut self, file: usize) {
        self.files[file].poisoned = true;
    }

    /// Sets or removes a name in the live image. False: its directory is not there.
    pub(super) fn set_name(&mut self, path: &str, node: Option<Node>) -> bool {
        let (dir, leaf) = split(path);
        let Some(names) = self.directories.get_mut(dir) else {
            return false;
        };
        let name = names.entry(leaf.to_owned()).or_default();
        name.since.push(node);
        if node == Some(Node::Directory) {
            self.directories.entry(path.to_owned()).or_default();
        }
        true
    }

    pub(super) fn sync_directory(&mut self, dir: &str) {
        for name in self.directories.get_mut(dir).into_iter().flatten() {
            name.1.settle();
        }
    }

    /// The disk after a power cut now: `seed` chooses what of the unsynced survived.
    pub(super) fn after_power_cut(&self, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut next = Self::empty(rng.next_u64());
        next.clock = self.clock;
        next.temps_made = self.temps_made;
        next.files = self.files.iter().map(|file| file.torn(&mut rng)).collect();
        let mut waiting = vec![String::new()];
        while let Some(dir) = waiting.pop() {
            let mut survivors = Directory::new();
            for (leaf, past) in self.directories.get(&dir).into_iter().flatten() {
                let durable = past.after_crash(&mut rng);
                if durable == Some(Node::Directory) {
                    waiting.push(if dir.is_empty() {
                        leaf.clone()
                    } else {
                        format!("{dir}/{leaf}")
                    });
                }
                let since = Vec::new();
                survivors.insert(leaf.clone(), Name { durable, since });
            }
            next.directories.insert(dir, survivors);
        }
        next
    }
}

impl File {
    /// What a power cut leaves: synced bytes for sure, of the others anything.
    fn torn(&self, rng: &mut Rng) -> Self {
        let block = if rng.coin() { 512 } else { 4096 };
        let unsynced = self.live.len() - self.synced;
        let len = match rng.below(4) {
            // The size is often written before the bytes: full length, holes inside.
            0 | 1 => self.live.len(),
            2 => self.synced,
            _ => self.synced + rng.below(unsynced + 1),
        };
        let mut body = self.live[..len].to_vec();
        let mut at = self.synced;
        while at < len {
            let end = (at - at % block + block).min(len);
            match rng.below(3) {
                0 => {}
                1 => body[at..end].fill(0),
                _ => body[at..end].fill_with(|| rng.next_u64().to_le_bytes()[0]),
            }
            at = end;
        }
        Self {
            synced: body.len(),
            live: body,
            poisoned: false,
            written: self.written,
        }
    }
}

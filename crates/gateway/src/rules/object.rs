//! What an object says of itself, before it is stored: it is whole, it is what its name says, and
//! these are the keys and sessions that it names. Needs no key, so it tells damage and disorder, not
//! lies: whether a seal opens, only key holders know.

use std::collections::BTreeSet;

use tresor_model::{SessionId, VaultId};
use tresor_vault_format::{
    DamageMark, Error as FormatError, IndexHeader, Outcome, PackTail, SessionBegin, SessionEnd,
};

use super::{Kind, Refusal, Why};

/// What is in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Numbers of the data keys of the object and of all packs that it names.
    pub numbers: BTreeSet<u32>,
    /// The session that it says it is of.
    pub session: Option<SessionId>,
}

/// Reads an object that a host wants to put, all of it.
///
/// # Errors
/// [`Why::Content`] when it is damaged, of another version, or not what its name says;
/// [`Why::NotWritten`] for kinds that hosts do not write.
pub fn examine(kind: &Kind, object: &[u8], vault: VaultId) -> Result<Contents, Refusal> {
    match kind {
        Kind::Pack(id) => {
            let tail = PackTail::of_whole(object).map_err(unreadable)?;
            for frame in tail.frames() {
                let from = frame.location.offset as usize;
                let stored = object.get(from..from + frame.location.length as usize);
                let hash = stored.map(|stored| *blake3::hash(stored).as_bytes());
                same(hash == Some(frame.hash), "a frame has another hash")?;
            }
            let header = tail.header();
            same(header.id == *id, "it is another pack")?;
            Ok(Contents {
                numbers: [id.epoch()].into(),
                session: Some(header.writer),
            })
        }
        Kind::Run(session, number) => {
            let (header, _) = IndexHeader::decode(object).map_err(unreadable)?;
            same(header.vault == vault, "it is of another vault")?;
            let named = (header.session, header.number) == (*session, *number);
            same(named, "it is another run")?;
            let packs = header.packs.iter().map(|pack| pack.id.epoch());
            Ok(Contents {
                numbers: packs.chain([header.epoch]).collect(),
                session: Some(*session),
            })
        }
        Kind::Begin(session) => {
            let begin = SessionBegin::decode(object).map_err(unreadable)?;
            same(begin.vault == vault, "it is of another vault")?;
            same(begin.session == *session, "it is another session's")?;
            Ok(Contents {
                session: Some(*session),
                ..Contents::default()
            })
        }
        Kind::End(session) => {
            let end = SessionEnd::decode(object).map_err(unreadable)?;
            same(end.vault == vault, "it is of another vault")?;
            same(end.session == *session, "it is another session's")?;
            let numbers = match &end.outcome {
                Outcome::Aborted => BTreeSet::new(),
                Outcome::Committed(commit) => {
                    let packs = commit.tree_packs.iter().map(|(pack, _)| pack.epoch());
                    packs.chain([commit.epoch]).collect()
                }
            };
            Ok(Contents {
                numbers,
                session: Some(*session),
            })
        }
        Kind::Damage(pack) => {
            let mark = DamageMark::decode(object).map_err(unreadable)?;
            same(mark.vault == vault, "it is of another vault")?;
            same(mark.pack == *pack, "it is another pack's")?;
            Ok(Contents {
                numbers: [pack.epoch()].into(),
                session: None,
            })
        }
        _ => Err(Refusal::new(Why::NotWritten)),
    }
}

fn unreadable(error: FormatError) -> Refusal {
    Refusal::saying(Why::Content, error)
}

fn same(holds: bool, else_: &str) -> Result<(), Refusal> {
    if holds {
        Ok(())
    } else {
        Err(Refusal::saying(Why::Content, else_))
    }
}

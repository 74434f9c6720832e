//! The pack that is being filled.

use std::sync::Arc;

use tresor_model::SessionId;
use tresor_vault_format::frame::Coded;
use tresor_vault_format::{FinishedPack, FrameLocation, PackId, PackKind, PackWriter, name};

use crate::error::{Error, Result};
use crate::random::random;
use crate::session::spare::Spare;
use crate::vault::Inner;

pub(crate) struct Packer {
    vault: Arc<Inner>,
    session: SessionId,
    kind: PackKind,
    /// Number of the data key.
    epoch: u32,
    /// Stored size at which a pack is closed.
    target: usize,
    /// Memory of packs that were put.
    spare: Spare,
    open: Option<PackWriter>,
}

impl Packer {
    pub(crate) fn new(
        vault: Arc<Inner>,
        (session, kind): (SessionId, PackKind),
        target: usize,
        spare: Spare,
    ) -> Self {
        Self {
            epoch: vault.epoch,
            vault,
            session,
            kind,
            target,
            spare,
            open: None,
        }
    }

    /// Seals with another data key than the one that sessions use.
    pub(crate) fn with_key(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    /// Seals a frame into the pack. When that made it full, gives it; the next frame begins
    /// another one.
    pub(crate) fn append(
        &mut self,
        coded: &Coded<'_>,
        entries: Vec<([u8; 32], u32)>,
    ) -> Result<(FrameLocation, Option<FinishedPack>)> {
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => self.begin(coded.stored_len())?,
        };
        let location = pack.append(coded, entries);
        let parts = tresor_vault_format::limits::FAN_OUT;
        let biggest = tresor_vault_format::frame::FRAME_STORED_LIMIT;
        if pack.size_when_finished() >= self.target || !pack.has_room(biggest, parts) {
            return Ok((location, Some(pack.finish())));
        }
        self.open = Some(pack);
        Ok((location, None))
    }

    fn begin(&self, first: usize) -> Result<PackWriter> {
        let ring = &self.vault.ring.get().ring;
        let id = PackId::new(random()?, self.epoch);
        // The pages of what is reserved and not used are never touched.
        let body = self.spare.take(self.target + first);
        PackWriter::new(id, self.kind, self.session, ring, body)
            .map_err(|error| Error::format(&name::pack(&id), error))
    }

    /// Ends the pack early, if it holds anything.
    pub(crate) fn close(&mut self) -> Option<FinishedPack> {
        self.open
            .take()
            .filter(|pack| !pack.is_empty())
            .map(PackWriter::finish)
    }
}

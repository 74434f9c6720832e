//! Key slots: the master key of a ring, wrapped by something a person or a machine has.

use tresor_model::VaultId;
use uuid::Uuid;

use crate::codec::{Reader, append_check, checked};
use crate::error::{Error, ErrorKind, Result};
use crate::id::DomainId;
use crate::keys::{Secret, derive};
use crate::seal::{Purpose, SealKey, TAG_LEN};

const MAGIC: [u8; 8] = *b"TRESORKS";
const VERSION: u16 = 1;
const PART: &str = "key slot";
const OWNER_CONTEXT: &str = "tresor vault 1 owner of ring";
const DOMAIN_CONTEXT: &str = "tresor vault 1 domain of ring";
const SLOT_CONTEXT: &str = "tresor vault 1 key slot";
const MAX_LABEL: usize = 64;

/// What a slot opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// A passphrase, stretched by Argon2id.
    Passphrase(Argon2Cost),
    /// The content of a key file.
    KeyFile,
    /// The recovery key.
    Recovery,
}

/// The cost of Argon2id (version 0x13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Argon2Cost {
    /// What new slots use: 64 MiB and three passes, the second recommendation of RFC 9106 but on
    /// one lane, because the hash runs on one thread.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 1,
    };

    /// A slot comes from the storage: it may not ask for any memory or time it likes (I8).
    const fn is_bearable(self) -> bool {
        self.memory_kib >= 8 * self.lanes
            && self.memory_kib <= 1 << 20
            && self.passes >= 1
            && self.passes <= 64
            && self.lanes >= 1
            && self.lanes <= 16
    }
}

/// A key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Its vault.
    pub vault: VaultId,
    /// Its id.
    pub slot: Uuid,
    /// The ring whose master key it wraps.
    pub ring: Uuid,
    /// What opens it.
    pub kind: SlotKind,
    /// A name for people, at most 64 bytes.
    pub label: String,
    /// Random; makes the wrapping key unique.
    pub salt: [u8; 32],
    wrapped: [u8; 32 + TAG_LEN],
}

impl KeySlot {
    /// Wraps `master`. `secret` is Argon2id's output for a passphrase (with this slot's `salt`),
    /// the key file's bytes, or the recovery key's. `label` is cut to its limit.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of the object, each used once"
    )]
    pub fn wrap(
        vault: VaultId,
        slot: Uuid,
        ring: Uuid,
        kind: SlotKind,
        label: &str,
        salt: [u8; 32],
        secret: &[u8],
        master: &Secret,
    ) -> Self {
        let mut end = label.len().min(MAX_LABEL);
        while !label.is_char_boundary(end) {
            end -= 1;
        }
        let mut slot = Self {
            vault,
            slot,
            ring,
            kind,
            label: label[..end].to_owned(),
            salt,
            wrapped: [0; 32 + TAG_LEN],
        };
        let mut sealed = master.0.to_vec();
        let aad = slot.public_part();
        slot.wrapping_key(secret)
            .seal(Purpose::Master, 0, &aad, &mut sealed, 0);
        slot.wrapped.copy_from_slice(&sealed);
        slot
    }

    /// Unwraps the master key.
    ///
    /// # Errors
    /// [`ErrorKind::SealBroken`] when `secret` is not the one that wrapped it.
    pub fn unwrap(&self, secret: &[u8]) -> Result<Secret> {
        let mut sealed = self.wrapped;
        let aad = self.public_part();
        let key = self.wrapping_key(secret);
        let plain = key.open(Purpose::Master, 0, &aad, &mut sealed, PART)?;
        let mut master = Secret([0; 32]);
        master.0.copy_from_slice(plain);
        Ok(master)
    }

    fn wrapping_key(&self, secret: &[u8]) -> SealKey {
        SealKey::new(&derive(SLOT_CONTEXT, &[&self.salt, secret]).0)
    }

    /// Everything before the wrapped key: what the seal binds.
    fn public_part(&self) -> Vec<u8> {
        let (kind, cost) = match self.kind {
            SlotKind::Passphrase(cost) => (1, cost),
            SlotKind::KeyFile => (2, NO_COST),
            SlotKind::Recovery => (3, NO_COST),
        };
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(self.vault.as_uuid().as_bytes());
        out.extend_from_slice(self.slot.as_bytes());
        out.extend_from_slice(self.ring.as_bytes());
        for field in [cost.memory_kib, cost.passes, cost.lanes] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.push(u8::try_from(self.label.len()).unwrap_or(0));
        out.extend_from_slice(self.label.as_bytes());
        out
    }

    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.public_part();
        out.extend_from_slice(&self.wrapped);
        append_check(&mut out);
        out
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// When they are not those of a key slot that this version can read, or when the slot asks
    /// for more work than is bearable.
    pub fn decode(object: &[u8]) -> Result<Self> {
        let body = checked(object, MAGIC, VERSION, PART)?;
        let mut reader = Reader::new(body, PART);
        reader.preamble(MAGIC, VERSION)?;
        let kind = reader.u8()?;
        let vault = VaultId::from_uuid(Uuid::from_bytes(reader.array()?));
        let slot = Uuid::from_bytes(reader.array()?);
        let ring = Uuid::from_bytes(reader.array()?);
        let cost = Argon2Cost {
            memory_kib: reader.u32()?,
            passes: reader.u32()?,
            lanes: reader.u32()?,
        };
        let kind = match kind {
            1 if cost.lanes <= 16 && cost.is_bearable() => SlotKind::Passphrase(cost),
            1 => return Err(Error::new(ErrorKind::TooLarge, PART)),
            2 if cost == NO_COST => SlotKind::KeyFile,
            3 if cost == NO_COST => SlotKind::Recovery,
            _ => return Err(Error::malformed(PART)),
        };
        let salt = reader.array()?;
        let label_len = usize::from(reader.u8()?);
        if label_len > MAX_LABEL {
            return Err(Error::new(ErrorKind::TooLarge, PART));
        }
        let label = std::str::from_utf8(reader.take(label_len)?)
            .map_err(|_| Error::malformed(PART))?
            .to_owned();
        let wrapped = reader.array()?;
        reader.finish()?;
        Ok(Self {
            vault,
            slot,
            ring,
            kind,
            label,
            salt,
            wrapped,
        })
    }
}

const NO_COST: Argon2Cost = Argon2Cost {
    memory_kib: 0,
    passes: 0,
    lanes: 0,
};

/// What the owner of a vault opens the ring of a host with, in place of a key file's bytes.
#[must_use]
pub fn owner_secret(master: &Secret, ring: Uuid) -> Secret {
    derive(OWNER_CONTEXT, &[&master.0, ring.as_bytes()])
}

/// The domain of a host's ring, as the owner knows it: what the ring itself says, the host may have
/// written.
#[must_use]
pub fn owner_domain(master: &Secret, ring: Uuid) -> DomainId {
    let derived = derive(DOMAIN_CONTEXT, &[&master.0, ring.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&derived.0[..16]);
    DomainId(id)
}

//! Opening key slots and key rings.

use std::sync::Arc;

use tresor_model::VaultId;
use tresor_vault_format::limits::SMALL_OBJECT;
use tresor_vault_format::{
    Argon2Cost, DataKey, DomainKeys, KeyRing, KeySlot, RecoveryKey, RingHeader, Secret, SlotKind,
    VaultHeader, name,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::pool::CpuPool;
use crate::random::random;
use crate::ring::SHARED;
use crate::store::Store;

/// Slots for which a passphrase is stretched: a hostile storage could list any number. What costs
/// only a read is not counted.
const MAX_STRETCHES: usize = 64;
/// Fewest bytes of a key file: 128 bits, if they are random.
const MIN_KEY_FILE: usize = 16;

/// Something that opens a vault.
#[derive(Clone)]
pub enum KeyMaterial {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// The bytes of a key file. A file that holds the text of a recovery key opens as one.
    KeyFile(Zeroizing<Vec<u8>>),
    /// The text of a recovery key.
    Recovery(Zeroizing<String>),
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase(..)",
            Self::KeyFile(_) => "KeyFile(..)",
            Self::Recovery(_) => "Recovery(..)",
        })
    }
}

/// The master key of a vault's ring: what a slot wraps.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) ring: Uuid,
    pub(crate) secret: Secret,
    /// The slot that it came from; `None` when it was made now.
    pub(crate) slot: Option<Uuid>,
}

/// A new slot.
pub(crate) struct Wrapped {
    pub(crate) id: Uuid,
    pub(crate) object: Vec<u8>,
}

impl Master {
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self {
            ring: Uuid::from_bytes(random()?),
            secret: Secret(random()?),
            slot: None,
        })
    }
}

/// A ring for a new vault: one domain, one key.
pub(crate) fn first_ring(header: &VaultHeader) -> Result<KeyRing> {
    let domain = SHARED;
    Ok(KeyRing {
        vault_header: header.hash(),
        domains: vec![DomainKeys {
            domain,
            root: Secret(random()?),
        }],
        keys: vec![DataKey {
            epoch: 1,
            domain,
            key: Secret(random()?),
        }],
    })
}

pub(crate) fn encode_ring(
    ring: &KeyRing,
    vault: VaultId,
    generation: u32,
    master: &Master,
) -> Result<(String, Vec<u8>)> {
    let header = RingHeader {
        vault,
        ring: master.ring,
        generation,
        salt: random()?,
    };
    let object = ring.encode(&header, &master.secret);
    Ok((name::key_ring(master.ring, generation), object))
}

/// Wraps the master key for somebody.
pub(crate) async fn wrap(
    pool: &CpuPool,
    vault: VaultId,
    master: &Master,
    material: &KeyMaterial,
    label: &str,
) -> Result<Wrapped> {
    let salt = random()?;
    let (kind, secret) = match material {
        KeyMaterial::Passphrase(text) if text.is_empty() => return Err(unusable()),
        KeyMaterial::Passphrase(text) => {
            let cost = Argon2Cost::DEFAULT;
            (
                SlotKind::Passphrase(cost),
                stretch(pool, text, salt, cost).await?,
            )
        }
        KeyMaterial::KeyFile(bytes) if bytes.len() < MIN_KEY_FILE => return Err(unusable()),
        KeyMaterial::KeyFile(bytes) => (SlotKind::KeyFile, bytes.clone()),
        KeyMaterial::Recovery(text) => {
            let key = parse_recovery(text).ok_or_else(unusable)?;
            (SlotKind::Recovery, Zeroizing::new(key.secret().0.to_vec()))
        }
    };
    let id = Uuid::now_v7();
    let slot = KeySlot::wrap(
        vault,
        id,
        master.ring,
        kind,
        label,
        salt,
        &secret,
        &master.secret,
    );
    let object = slot.encode();
    Ok(Wrapped { id, object })
}

/// Tries the slots in order of their names.
///
/// A damaged slot does not keep another from opening; only when none opens is it reported.
pub(crate) async fn unlock(
    store: &Store,
    pool: &CpuPool,
    vault: VaultId,
    material: &KeyMaterial,
) -> Result<Master> {
    unlock_of(store, pool, vault, material, None).await
}

/// The same for one ring alone.
pub(crate) async fn unlock_of(
    store: &Store,
    pool: &CpuPool,
    vault: VaultId,
    material: &KeyMaterial,
    ring: Option<Uuid>,
) -> Result<Master> {
    let recovery = match material {
        KeyMaterial::Recovery(text) => Some(parse_recovery(text).ok_or_else(unusable)?),
        KeyMaterial::KeyFile(bytes) => std::str::from_utf8(bytes).ok().and_then(parse_recovery),
        KeyMaterial::Passphrase(_) => None,
    };
    let (mut damaged, mut stretches) = (None, 0);
    for meta in store.list(name::SLOTS).await? {
        let object = meta.name.as_str();
        let slot = match read_slot(store, object, vault).await {
            Ok(slot) => slot,
            Err(error) => {
                tracing::warn!(object, %error, "a key slot cannot be read");
                damaged = Some(error);
                continue;
            }
        };
        if ring.is_some_and(|ring| ring != slot.ring) {
            continue;
        }
        let secret = match (slot.kind, material, &recovery) {
            (SlotKind::Passphrase(cost), KeyMaterial::Passphrase(text), _)
                if stretches < MAX_STRETCHES =>
            {
                stretches += 1;
                stretch(pool, text, slot.salt, cost).await?
            }
            (SlotKind::KeyFile, KeyMaterial::KeyFile(bytes), _) => bytes.clone(),
            (SlotKind::Recovery, _, Some(key)) => Zeroizing::new(key.secret().0.to_vec()),
            _ => continue,
        };
        if let Ok(secret) = slot.unwrap(&secret) {
            return Ok(Master {
                ring: slot.ring,
                secret,
                slot: Some(slot.slot),
            });
        }
    }
    Err(damaged.unwrap_or_else(|| Error::new(ErrorKind::KeyRejected)))
}

pub(crate) async fn read_slot(store: &Store, object: &str, vault: VaultId) -> Result<KeySlot> {
    let bytes = store.get(object, SMALL_OBJECT).await?;
    let slot = KeySlot::decode(&bytes).map_err(|error| Error::format(object, error))?;
    if slot.vault == vault && name::key_slot(slot.slot) == object {
        Ok(slot)
    } else {
        Err(Error::damaged(
            object,
            "it belongs to another name or vault",
        ))
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::KeyUnusable)
}

fn parse_recovery(text: &str) -> Option<RecoveryKey> {
    text.parse().ok()
}

/// Argon2id on the pool: it takes tens of milliseconds on purpose.
async fn stretch(
    pool: &CpuPool,
    passphrase: &Zeroizing<String>,
    salt: [u8; 32],
    cost: Argon2Cost,
) -> Result<Zeroizing<Vec<u8>>> {
    let passphrase = Arc::new(passphrase.clone());
    let stretched = pool.run(move || {
        let params = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
        let argon2 = argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            params.map_err(|error| error.to_string())?,
        );
        let mut out = Zeroizing::new(vec![0; 32]);
        let done = argon2.hash_password_into(passphrase.as_bytes(), &salt, &mut out);
        done.map(|()| out).map_err(|error| error.to_string())
    });
    stretched
        .await
        .map_err(|error| Error::system("stretch a passphrase").because(error))?
        .map_err(|error| Error::system("stretch a passphrase").because(error))
}

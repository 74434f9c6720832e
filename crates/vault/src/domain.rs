//! What may be built on what: a point is of one domain, whole.
//!
//! # Invariant
//! Below the root of a stream there are only nodes and chunks of the root's domain. A session writes in
//! one domain, finds only chunks of that domain ([`crate::known`]), and takes over nodes only of a base
//! that is of it, which is checked here. So whoever can open the root can open all of it.

use tresor_model::{RecoveryPoint, StreamRecord};
use tresor_vault_format::{DomainId, PackId, name, owner_domain};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::tree::root_child;
use crate::vault::{Inner, Vault};

impl Vault {
    /// Whether the disks of this holder's next point may take over what did not change from `point`:
    /// all of them are of the domain in which this holder writes. Else they are read whole, and
    /// [`crate::WriteSession::stream`] gets no base.
    #[must_use]
    pub fn can_build_on(&self, point: &RecoveryPoint) -> bool {
        let mut disks = point.disks.iter();
        disks.all(|disk| self.inner.is_ours(&disk.stream))
    }

    /// The ring that this holder's key opens.
    #[must_use]
    pub fn ring(&self) -> Uuid {
        self.inner.master.ring
    }

    /// Whether this holder has the keys of one domain only, as a host of its own domain has.
    #[must_use]
    pub fn is_of_one_domain(&self) -> bool {
        !self.inner.ring.is_whole()
    }

    /// The domain of the host with that ring ([`crate::HostDomain::ring`]).
    ///
    /// # Errors
    /// [`ErrorKind::OwnerOnly`] for who has one domain only.
    pub fn domain_of_host(&self, ring: Uuid) -> Result<DomainId> {
        self.inner.owner()?;
        Ok(owner_domain(&self.inner.master.secret, ring))
    }

    /// The domain to which a data key's number belongs; `None`: this holder has no such key, also
    /// after its ring was opened again.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn domain_of_number(&self, number: u32) -> Result<Option<DomainId>> {
        let inner = &self.inner;
        if !inner.ring.knows(number) {
            inner.refresh_ring().await?;
        }
        Ok(inner.ring.domain_of(number))
    }
}

impl Inner {
    /// Whether a stream is of the domain that is written to.
    pub(crate) fn is_ours(&self, stream: &StreamRecord) -> bool {
        match root_pack(stream) {
            Ok(Some(pack)) => self.ring.is_of(pack.epoch(), self.domain),
            // What cannot be read is damage, which is another matter: reading it says so.
            Ok(None) | Err(_) => true,
        }
    }

    /// Refuses a base of another domain.
    pub(crate) async fn check_base(&self, base: &StreamRecord) -> Result<()> {
        let Some(pack) = root_pack(base)? else {
            return Ok(());
        };
        let epoch = pack.epoch();
        if !self.ring.knows(epoch) {
            self.refresh_ring().await?;
        }
        if self.ring.is_of(epoch, self.domain) {
            return Ok(());
        }
        if self.ring.is_whole() && !self.ring.knows(epoch) {
            let object = name::pack(&pack);
            return Err(Error::new(ErrorKind::KeyMissing { object, epoch }));
        }
        let stream = base.name.clone();
        Err(Error::new(ErrorKind::BaseElsewhere { stream }))
    }
}

/// `None` for a stream of zeros, which is of no domain.
fn root_pack(stream: &StreamRecord) -> Result<Option<PackId>> {
    let root = root_child(stream)?;
    Ok(root.map(|root| root.location.frame.pack))
}

//! Who a VM is, and which image a disk has.

use std::{io, os::unix::fs::MetadataExt, path::Path};

use tresor_disk::{Error, ErrorKind};
use tresor_model::{HypervisorProcess, VmId};
use tresor_qmp::{Client, Peer, commands::machine::QueryUuid};

use super::process;
use crate::{
    failure,
    layout::{Below, Disk},
};

/// The VM's UUID. A VM started without one says all zeros; then the id is derived from this
/// host's machine id and the path of the QMP socket, so that it stays the same over restarts. It
/// changes when the VM moves: give VMs a UUID.
pub(crate) async fn identify(client: &Client, socket: &Path) -> Result<VmId, Error> {
    let step = "ask the VM for its UUID";
    let answer = client
        .run(&QueryUuid {})
        .await
        .map_err(failure::qmp(step))?;
    let id: VmId = answer
        .uuid
        .parse()
        .map_err(|source| Error::new(ErrorKind::Protocol, step).because(source))?;
    if !id.as_uuid().is_nil() {
        return Ok(id);
    }
    let machine = tokio::fs::read_to_string("/etc/machine-id").await;
    // A host without a machine id still has distinct sockets.
    let machine = machine.unwrap_or_default();
    let socket = std::path::absolute(socket).map_err(failure::host(step))?;
    Ok(derived(machine.trim(), &socket))
}

fn derived(machine: &str, socket: &Path) -> VmId {
    let mut hasher = blake3::Hasher::new_derive_key("tresor VM without UUID v1");
    hasher.update(machine.as_bytes());
    hasher.update(&[0]);
    hasher.update(socket.as_os_str().as_encoded_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    VmId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Device and inode of the image's file, or what QEMU calls it when it is no file.
pub(crate) async fn image_identity(peer: Peer, disk: &Disk) -> io::Result<String> {
    identity(peer, disk.file.as_deref(), &disk.source).await
}

/// The same of everything that the image rests on, in order. QEMU holds it open whether or not it
/// can be looked at from here: what cannot is known by its name.
pub(crate) async fn chain_identities(peer: Peer, below: &[Below]) -> Vec<String> {
    let mut chain = Vec::with_capacity(below.len());
    for image in below {
        let found = identity(peer, image.file.as_deref(), &image.source).await;
        chain.push(found.unwrap_or_else(|_unseen| format!("source:{}", image.source)));
    }
    chain
}

async fn identity(peer: Peer, file: Option<&str>, source: &str) -> io::Result<String> {
    let Some(file) = file else {
        return Ok(format!("source:{source}"));
    };
    let path = process::resolve(peer.pid, file).await;
    let metadata = tokio::fs::metadata(&path).await?;
    Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// The process behind the socket; `None` when this host cannot tell.
pub(crate) async fn process_of(peer: Peer) -> Option<HypervisorProcess> {
    process::identity(peer.pid?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_stable_and_tells_sockets_apart() {
        let one = derived("m", Path::new("/run/a"));
        assert_eq!(one, derived("m", Path::new("/run/a")));
        assert_ne!(one, derived("m", Path::new("/run/b")));
        assert_ne!(one, derived("n", Path::new("/run/a")));
        assert_eq!(one.as_uuid().get_version_num(), 8);
    }
}

//! Vaults through the service: whose they are, and the domains that hosts make there.

use std::sync::Arc;

use jiff::Timestamp;
use tresor_backend::LocalBackend;
use tresor_catalog::{VaultRecord, VmRecord};
use tresor_channel::Connection;
use tresor_host::{StateDir, keys};
use tresor_host_link::Vaults as _;
use tresor_model::{SessionId, VmId};
use tresor_uplink::{HostVaults, Shortcuts};
use tresor_vault::{CreateOptions, KeyMaterial, SessionOptions, Vault};

use crate::site::{Linked, Site};

/// A vault that the catalog knows, with its key.
async fn create(site: &Site, name: &str) -> Vault {
    let (place, key) = (site.file(name), site.file(&format!("{name}.key")));
    keys::write_key_file(&key, &keys::generate().unwrap()).unwrap();
    let material = KeyMaterial::KeyFile(keys::read_secret(&key).unwrap());
    let backend = Arc::new(LocalBackend::create(&place).await.unwrap());
    let (vault, _) = Vault::create(backend, CreateOptions::new(material))
        .await
        .unwrap();
    let record = VaultRecord {
        name: name.to_owned(),
        id: vault.id(),
        location: place.display().to_string(),
        settings: None,
        key_source: format!("file:{}", key.display()),
        created_at: Timestamp::now(),
        verify_share: None,
    };
    site.catalog.add_vault(&record).await.unwrap();
    vault
}

async fn add_vm(site: &Site, host: &Linked, vault: &str) {
    let id = VmId::generate();
    let vm = VmRecord {
        name: id.to_string(),
        id,
        qmp_socket: "/run/x.qmp".into(),
        agent_socket: None,
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: None,
        vault: vault.to_owned(),
        retention: None,
        created_at: Timestamp::now(),
        host: Some(host.identity.id()),
    };
    site.catalog.add_vm(&vm).await.unwrap();
}

fn vaults(site: &Site, host: &Linked, state: &str) -> HostVaults {
    let state = StateDir::choose(Some(&site.file(state))).unwrap();
    HostVaults::new(
        state,
        host.connections.clone(),
        Shortcuts::new(host.identity.id(), []),
    )
}

/// Slots that are not the owner's own.
async fn slots_of_hosts(vault: &Vault) -> usize {
    let slots = vault.key_slots().await.unwrap().slots;
    slots.iter().filter(|slot| !slot.same_ring).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_one_domain_in_a_vault_of_its_vms_and_no_other_vault() {
    let site = Site::new().await;
    let (main, _other) = (create(&site, "main").await, create(&site, "other").await);
    let host = site.uplink(site.enrol("node1").await.unwrap());
    let mine = vaults(&site, &host, "state1");
    let refused = mine.open("main", None).await.err().unwrap();
    assert!(refused.is("VaultNotFound"), "{refused}");
    add_vm(&site, &host, "main").await;
    for name in ["other", "nothing", "../main", "", "a/b"] {
        let refused = mine.open(name, None).await.err().unwrap();
        assert!(refused.is("VaultNotFound"), "{name}: {refused}");
    }

    let first = mine.open("main", None).await.unwrap();
    assert_eq!(first.id(), main.id());
    assert!(first.is_of_one_domain());
    let again = mine.open("main", None).await.unwrap();
    assert_eq!(again.ring(), first.ring());
    assert_eq!(slots_of_hosts(&main).await, 1);
    // Whoever has lost the key has another domain, and the first one's sessions are still not its.
    let session = first.begin_session(SessionOptions::new(SessionId::generate()));
    drop(session.await.unwrap());
    let lost = vaults(&site, &host, "state2")
        .open("main", None)
        .await
        .unwrap();
    assert_ne!(lost.ring(), first.ring());
    assert_eq!(slots_of_hosts(&main).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_neither_fills_the_list_of_keys_nor_comes_with_the_owners() {
    let site = Site::new().await;
    let main = create(&site, "main").await;
    let host = site.uplink(site.enrol("node1").await.unwrap());
    add_vm(&site, &host, "main").await;
    let connection = host.connection().await;
    let owner = keys::read_secret(&site.file("main.key")).unwrap();
    assert_eq!(
        enter(&connection, &owner).await,
        Some("UsageError".to_owned())
    );
    assert_eq!(
        enter(&connection, b"short").await,
        Some("link.head-malformed".to_owned())
    );
    for number in 0..8_u8 {
        assert_eq!(enter(&connection, &[number; 40]).await, None);
    }
    assert_eq!(
        enter(&connection, &[99; 40]).await,
        Some("HostKeysUsedUp".to_owned())
    );
    // Those that are there still open.
    assert_eq!(enter(&connection, &[3; 40]).await, None);
    assert_eq!(slots_of_hosts(&main).await, 8);
}

/// The code of the failure, if it is one.
async fn enter(connection: &Connection, key: &[u8]) -> Option<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let asked = serde_json::json!({ "vault": "main", "key": BASE64_STANDARD.encode(key) });
    let head = serde_json::to_vec(&asked).unwrap();
    let answered = connection.call("uplink.vault", &head).await;
    answered
        .err()
        .map(|error| error.failure().unwrap().code.clone())
}

//! How much a damage costs, and that a whole vault has none.

use tresor_vault::{Vault, check_structure, verify_objects};

use crate::inflict::Damage;
use crate::kinds::Kind;
use crate::sample::{Sample, TARGET};
use crate::support::{key, memory_vault, noise};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_vault_has_no_damage() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(1, 6 << 20);
    let point = crate::support::back_up(&vault, &content).await;
    let report = verify_objects(backend.clone(), |_| ()).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    let report = check_structure(backend, |_| ()).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    let report = vault.verify_point(point.id, |_| ()).await.unwrap();
    assert_eq!(
        (report.damaged_count, report.bytes),
        (0, content.len() as u64)
    );
}

/// A flipped bit in a data pack costs its frame, not the pack, and the stream is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_costs_one_frame() {
    let sample = Sample::make().await;
    let backend = sample.damaged(Kind::DataPack, Damage::FlipMiddle).await;
    let vault = Vault::open(backend, &key()).await.unwrap();
    let id = sample.shown[TARGET].point.id;
    let report = vault.verify_point(id, |_| ()).await.unwrap();
    assert_eq!(report.damaged_count, 16);
    assert_eq!(report.bytes, 5 << 20);
    assert!(
        report
            .damaged
            .iter()
            .all(|found| found.stream.as_str() == "vda")
    );
}

//! Streams that are looked at again: compared by id, written anew over what there was, grown, or
//! given up and begun anew.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::{CHUNK, back_up, begin, memory_vault, name, noise, point, read_all, write_all};
use tresor_model::Extent;
use tresor_vault::{CHUNK_SIZE, ErrorKind};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_names_the_chunks_that_differ() {
    let (backend, vault, _) = memory_vault().await;
    let mut content = noise(1, 3 * MIB + 777);
    content[MIB..MIB + 2 * CHUNK_SIZE].fill(0);
    let stream = back_up(&vault, &content).await.disks.remove(0).stream;
    let reader = vault.reader(&stream).unwrap();

    let whole = Bytes::from(content.clone());
    assert!(reader.differing_chunks(0, whole).await.unwrap().is_empty());
    // A byte of data, a byte where zeros were, zeros where data was, a byte in the last chunk.
    content[5] ^= 1;
    content[MIB + CHUNK_SIZE] = 1;
    content[2 * MIB..2 * MIB + CHUNK_SIZE].fill(0);
    content[3 * MIB + 700] ^= 1;
    let mib = MIB as u64;
    let expected = [0, mib + CHUNK, 2 * mib, 3 * mib];
    let whole = Bytes::from(content.clone());
    assert_eq!(reader.differing_chunks(0, whole).await.unwrap(), expected);
    let part = Bytes::copy_from_slice(&content[MIB..2 * MIB]);
    let found = reader.differing_chunks(mib, part).await.unwrap();
    assert_eq!(found, [mib + CHUNK]);

    for (offset, length) in [(1, CHUNK_SIZE), (0, 100), (3 * mib, CHUNK_SIZE)] {
        let refused = reader
            .differing_chunks(offset, vec![0; length].into())
            .await;
        assert!(matches!(
            refused.unwrap_err().kind(),
            ErrorKind::Misuse { .. }
        ));
    }
    drop(backend);
}

/// Writing everything again over the stream as it was: what did not change is shared, holes too.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_read_over_a_base_stores_what_differs() {
    let (backend, vault, _) = memory_vault().await;
    let size = 600 * MIB as u64;
    let data = noise(2, 8 * MIB);
    let first = {
        let session = begin(&vault).await;
        let mut writer = session.stream(name("vda"), size, None).await.unwrap();
        writer.write(0, data.clone().into()).await.unwrap();
        let (record, _) = writer.finish().await.unwrap();
        let id = session.id();
        session
            .commit(point(id, vec![record.clone()]))
            .await
            .unwrap();
        record
    };
    let session = begin(&vault).await;
    let mut changed = data.clone();
    changed[3 * MIB] ^= 1;
    let mut writer = session
        .stream(name("vda"), size, Some(&first))
        .await
        .unwrap();
    writer.write(0, changed.clone().into()).await.unwrap();
    let hole = Extent::between(changed.len() as u64, size);
    writer.zero(hole).await.unwrap();
    let (record, stats) = writer.finish().await.unwrap();
    assert_eq!(stats.new, CHUNK);
    assert!(stats.stored < 2 * CHUNK, "a chunk and a path: {stats:?}");
    let id = session.id();
    session
        .commit(point(id, vec![record.clone()]))
        .await
        .unwrap();
    let read = vault.reader(&record).unwrap().read_at(0, 8 * MIB).await;
    assert_eq!(read.unwrap(), changed);
    drop(backend);
}

/// What a stream that is given up has stored is not sent again, and another stream that relies on
/// its chunks is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_given_up_leaves_its_chunks_to_others() {
    let (backend, vault, _) = memory_vault().await;
    let content = noise(3, 5 * MIB + 3 * CHUNK_SIZE);
    let size = content.len() as u64;
    let session = begin(&vault).await;
    let mut first = session.stream(name("vda"), size, None).await.unwrap();
    first.write(0, content.clone().into()).await.unwrap();
    let (other, _) = write_all(&session, "vdb", &content, None, MIB)
        .await
        .unwrap();
    let given_up = first.abandon().await.unwrap();
    let (again, stats) = write_all(&session, "vda", &content, None, MIB)
        .await
        .unwrap();
    assert_eq!(stats.new, 0);
    assert!(given_up.new <= size, "{given_up:?}");
    let id = session.id();
    let records = vec![again.clone(), other.clone()];
    session.commit(point(id, records)).await.unwrap();
    for record in [again, other] {
        assert_eq!(read_all(&vault, &record).await.unwrap(), content);
    }
    drop(backend);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_shrink() {
    let (backend, vault, _) = memory_vault().await;
    let base = back_up(&vault, &noise(4, MIB)).await.disks.remove(0).stream;
    let session = begin(&vault).await;
    let refused = session.stream(name("vda"), CHUNK, Some(&base)).await;
    assert!(matches!(
        refused.err().unwrap().kind(),
        ErrorKind::Misuse { .. }
    ));
    drop(backend);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Over any number of levels of the tree: the old part is kept, the new one is what was
    /// written, and the rest is zero.
    #[test]
    fn a_grown_stream_keeps_its_base(
        data in 1..200_u64, size in 1..9000_u64, grown in 0..300_000_u64, tail in 0..40_u64,
        at in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async move {
            let (_backend, vault, _) = memory_vault().await;
            let size = size.max(data) * CHUNK;
            let content = noise(data, (data * CHUNK) as usize);
            let session = begin(&vault).await;
            let mut writer = session.stream(name("vda"), size, None).await.unwrap();
            writer.write(0, content.clone().into()).await.unwrap();
            let (base, _) = writer.finish().await.unwrap();
            let id = session.id();
            session.commit(point(id, vec![base.clone()])).await.unwrap();

            let larger = size + (grown + tail) * CHUNK;
            let at = (size / CHUNK + at % (grown + 1)) * CHUNK;
            let new = noise(7, (tail * CHUNK) as usize);
            let session = begin(&vault).await;
            let mut writer = session.stream(name("vda"), larger, Some(&base)).await.unwrap();
            if tail > 0 {
                writer.write(at, new.clone().into()).await.unwrap();
            }
            let (record, stats) = writer.finish().await.unwrap();
            assert_eq!(stats.read, tail * CHUNK);
            let id = session.id();
            session.commit(point(id, vec![record.clone()])).await.unwrap();
            let reader = vault.reader(&record).unwrap();
            let kept = reader.read_at(0, content.len()).await.unwrap();
            assert_eq!(kept, content);
            let found = reader.read_at(at, new.len()).await.unwrap();
            assert_eq!(found, new);
            let extents = reader.extents(Extent::between(0, larger)).await.unwrap();
            let stored: u64 = extents
                .iter()
                .filter(|(_, kind)| *kind == tresor_vault::ExtentKind::Data)
                .map(|(extent, _)| extent.length)
                .sum();
            assert_eq!(stored, (data + tail) * CHUNK);
        });
    }
}

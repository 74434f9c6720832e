use std::collections::HashMap;

use proptest::prelude::*;
use tresor_vault_format::{FrameLocation, PackId};

use super::*;

fn id(number: u16) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn pack(number: u8) -> TablePack {
    TablePack {
        id: PackId([number; 16]),
        size: 100,
    }
}

fn chunk(number: u16, pack_number: u8) -> LeafChunk {
    LeafChunk {
        id: id(number),
        frame: FrameLocation {
            pack: pack(pack_number).id,
            offset: u32::from(number),
            length: 1,
        },
        slot: 0,
    }
}

proptest! {
    /// Whatever is added in whatever order: what is there is found, in a pack that is there.
    #[test]
    fn tables_together_are_a_map(
        batches in proptest::collection::vec(
            (proptest::collection::vec(0..400_u16, 0..60), 0..12_u8, any::<bool>()), 1..40,
        ),
    ) {
        let mut stored = StoredChunks::in_memory(VaultId::generate());
        let mut model: HashMap<u16, Vec<u8>> = HashMap::new();
        for (numbers, pack_number, keep) in batches {
            let chunks = numbers.iter().map(|number| chunk(*number, pack_number)).collect();
            stored.add(chunks, vec![pack(pack_number)], keep).unwrap();
            for number in numbers {
                model.entry(number).or_default().push(pack_number);
            }
        }
        for number in 0..400 {
            let found = stored.find(&id(number)).map(|chunk| chunk.frame.pack);
            match model.get(&number) {
                None => prop_assert_eq!(found, None),
                Some(packs) => prop_assert!(packs.iter().any(|n| Some(pack(*n).id) == found)),
            }
        }
        prop_assert!(stored.members.len() < 16, "{} tables", stored.members.len());
    }
}

#[test]
fn chunks_of_a_pack_that_is_gone_are_not_known() {
    let mut stored = StoredChunks::in_memory(VaultId::generate());
    stored
        .add(vec![chunk(1, 1), chunk(2, 2)], vec![pack(1), pack(2)], true)
        .unwrap();
    let cut_short = TablePack {
        size: 99,
        ..pack(1)
    };
    stored.check_presence(&ListedPacks::of([pack(2), cut_short]));
    assert_eq!(stored.find(&id(1)), None);
    assert_eq!(stored.find(&id(2)), Some(chunk(2, 2)));
}

#[test]
fn many_small_additions_make_few_tables() {
    let mut stored = StoredChunks::in_memory(VaultId::generate());
    for number in 0..1000 {
        let chunks = if number % 3 == 0 {
            Vec::new()
        } else {
            vec![chunk(number, 1)]
        };
        stored.add(chunks, vec![pack(1)], true).unwrap();
    }
    assert!(stored.members.len() <= 11, "{}", stored.members.len());
}

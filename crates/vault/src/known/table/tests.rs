use std::io::Write as _;

use super::*;

fn id(number: u64) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn pack(number: u8) -> TablePack {
    TablePack {
        id: PackId([number; 16]),
        size: 1000 + u32::from(number),
    }
}

fn chunk(number: u64) -> LeafChunk {
    LeafChunk {
        id: id(number),
        frame: FrameLocation {
            pack: pack((number % 3) as u8).id,
            offset: number as u32,
            length: 77,
        },
        slot: (number % 16) as u8,
    }
}

fn vault() -> VaultId {
    VaultId::from_uuid(uuid::Uuid::from_u128(7))
}

fn build(file: Option<File>, entries: u64) -> Table {
    let packs = vec![pack(0), pack(1), pack(2)];
    let mut builder = TableBuilder::new(file, vault(), packs, entries);
    let mut chunks: Vec<LeafChunk> = (0..entries).map(chunk).collect();
    chunks.sort_unstable_by_key(|chunk| chunk.id);
    for chunk in &chunks {
        builder.push(chunk).unwrap();
    }
    builder.finish().unwrap()
}

/// The bytes of a table, as they are in a file.
fn bytes(entries: u64) -> Vec<u8> {
    match build(None, entries).data {
        Data::Memory(bytes) => bytes,
        Data::File(_) => unreachable!("built in memory"),
    }
}

fn open(bytes: &[u8]) -> io::Result<Table> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Table::open(file, vault())
}

#[test]
fn every_entry_is_found_where_it_was_said_to_be() {
    for entries in [0, 1, 84, 85, 86, 1000] {
        let file = tempfile::tempfile().unwrap();
        let built = build(Some(file.try_clone().unwrap()), entries);
        let opened = Table::open(file, vault()).unwrap();
        for table in [built, opened, build(None, entries)] {
            assert_eq!(table.len(), entries);
            assert_eq!(table.packs().len(), 3);
            for number in 0..entries {
                let (found, pack) = table.find(&id(number)).unwrap().unwrap();
                assert_eq!(found, chunk(number));
                assert_eq!(pack as u64, number % 3);
            }
            assert!((entries..entries + 500).all(|n| table.find(&id(n)).unwrap().is_none()));
            let all: Vec<_> = table.entries().map(|entry| entry.unwrap().0.id).collect();
            assert!(all.is_sorted() && all.len() as u64 == entries);
        }
    }
}

#[test]
fn no_damage_gives_a_wrong_place() {
    let sound = bytes(300);
    for at in (0..sound.len()).step_by(61) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x40;
        let Ok(table) = open(&damaged) else { continue };
        for number in 0..300 {
            if let Ok(Some((found, _))) = table.find(&id(number)) {
                assert_eq!(found, chunk(number), "byte {at}");
            }
        }
    }
}

#[test]
fn a_table_that_was_cut_short_is_none() {
    let sound = bytes(300);
    for length in (0..sound.len()).step_by(501) {
        assert!(open(&sound[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_table_of_another_vault_is_none() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes(10)).unwrap();
    let other = VaultId::from_uuid(uuid::Uuid::from_u128(8));
    assert!(Table::open(file, other).is_err());
}

#[test]
fn entries_that_do_not_rise_are_refused() {
    let mut builder = TableBuilder::new(None, vault(), vec![pack(0), pack(1), pack(2)], 10);
    let mut chunks = [chunk(1), chunk(2)];
    chunks.sort_unstable_by_key(|chunk| std::cmp::Reverse(chunk.id));
    builder.push(&chunks[0]).unwrap();
    assert!(builder.push(&chunks[1]).is_err());
}

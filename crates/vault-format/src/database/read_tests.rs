use super::*;
use crate::database::DumpWriter;

/// What release 0 wrote; never edited.
const GOLDEN: &[u8] = include_bytes!("../../testdata/v1/database.jsonl");

fn parts(bytes: &[u8], step: usize) -> Result<Vec<Part>, DumpError> {
    let mut reader = DumpReader::new();
    let mut parts = Vec::new();
    for piece in bytes.chunks(step) {
        reader.push(piece);
        while let Some(part) = reader.next_part()? {
            parts.push(part);
        }
    }
    reader.finish()?;
    Ok(parts)
}

#[test]
fn the_golden_file_is_read_in_pieces_of_any_length() {
    let whole = parts(GOLDEN, GOLDEN.len()).unwrap();
    let Part::Head(head) = &whole[0] else {
        panic!("{whole:?}");
    };
    assert_eq!((head.schema, head.host), (10, None));
    let files = whole.iter().filter(|part| matches!(part, Part::File(_)));
    assert_eq!(files.count(), 2);
    let rows: Vec<_> = whole
        .iter()
        .filter_map(|part| match part {
            Part::Row(row) => Some(row.clone()),
            _ => None,
        })
        .collect();
    let text = |text: &str| Cell::Text(text.to_owned());
    let expected = [
        text("main"),
        text("01936f3e-0000-7000-8000-000000000001"),
        text("/srv/vault"),
        text("file:/var/lib/tresor/keys/main.key"),
        Cell::Number(1_764_331_200_000_000),
        Cell::Null,
        Cell::Null,
    ];
    assert_eq!(rows[0], expected);
    assert_eq!(rows.len(), 3);
    assert_eq!(whole.last(), Some(&Part::End));
    for step in [1, 7, 4096] {
        assert_eq!(parts(GOLDEN, step).unwrap(), whole, "{step}");
    }
}

#[test]
fn the_writer_still_writes_the_golden_file() {
    let mut written = Vec::new();
    let mut out = DumpWriter::new(&mut written);
    for part in parts(GOLDEN, 4096).unwrap() {
        match part {
            Part::Head(head) => out.head(&head).unwrap(),
            Part::File(file) => out.file(&file).unwrap(),
            Part::Table { name, columns } => out.table(&name, columns).unwrap(),
            Part::Row(row) => out.row(&row).unwrap(),
            Part::End => assert_eq!(out.end().unwrap().bytes, GOLDEN.len() as u64),
        }
    }
    assert!(written == GOLDEN);
}

#[test]
fn what_was_cut_off_anywhere_is_no_dump() {
    let ends = GOLDEN.windows(2).enumerate();
    // Behind each line that says something.
    let ends = ends.filter(|(_, pair)| pair[0] != b'\n' && pair[1] == b'\n');
    for end in ends.map(|(at, _)| at + 2).filter(|end| *end < GOLDEN.len()) {
        assert!(parts(&GOLDEN[..end], 512).is_err(), "{end} bytes");
    }
    assert!(parts(&[], 512).is_err());
    assert!(parts(&GOLDEN[..GOLDEN.len() - 1], 512).is_err());
}

fn changed(from: &str, to: &str) -> Result<Vec<Part>, DumpError> {
    let text = std::str::from_utf8(GOLDEN).unwrap();
    assert!(text.contains(from), "{from}");
    parts(text.replacen(from, to, 1).as_bytes(), 100_000)
}

#[test]
fn what_is_not_as_it_must_be_is_refused() {
    let newer = changed("\"version\":1", "\"version\":2").unwrap_err();
    assert!(matches!(newer, DumpError::VersionUnknown { found: 2, .. }));
    for (from, to) in [
        ("\"tresor\":\"database\"", "\"tresor\":\"vault\""),
        ("74726573-6f72-8d62", "74726573-6f72-4d62"),
        ("identity/ca.crt", "../../etc/passwd"),
        ("\"rows\":3", "\"rows\":2"),
        ("\"tables\":2", "\"tables\":3"),
        (",null]", "]"),
        ("[\"nightly\"", "[{}"),
        ("[\"nightly\"", "[1.5"),
        ("\"columns\":[\"name\"", "\"columns\":[1"),
        (
            "{\"table\":\"policies\"",
            "{\"table\":\"policies\",\"end\":{}",
        ),
        ("{\"end\"", "{\"tresor\""),
    ] {
        let error = changed(from, to).expect_err(to);
        assert!(
            matches!(error, DumpError::Malformed { .. }),
            "{to}: {error}"
        );
    }
    let behind = [GOLDEN, b"[]\n"].concat();
    assert!(parts(&behind, 512).is_err());
    let unended = [GOLDEN, b"x"].concat();
    assert!(parts(&unended, 512).is_err());
}

#[test]
fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
    let mut reader = DumpReader::new();
    reader.push(&vec![b'x'; MAX_LINE + 1]);
    assert!(reader.next_part().is_err());
}

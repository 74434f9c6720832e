//! The document that is committed is the one that the code has. `TRESOR_WRITE_DOCS=1` writes it.

use std::{fs, path::Path};

use tresor_api::document;

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api/openapi.json");
    let mut text = serde_json::to_string_pretty(&document()).unwrap();
    text.push('\n');
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/api/openapi.json is not current: run this test with TRESOR_WRITE_DOCS=1"
    );
}

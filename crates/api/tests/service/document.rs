//! The document that is committed is the one that the code has. `TRESOR_WRITE_DOCS=1` writes it.

use std::{collections::BTreeSet, fs, path::Path};

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

#[test]
fn every_operation_has_a_name_of_its_own_and_every_change_takes_a_key() {
    let document = serde_json::to_value(document()).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let parameters = operation["parameters"].to_string();
            let secret = ["tokens_create", "hosts_token"].contains(&name);
            let keyed = method != "get" && !secret;
            assert_eq!(
                parameters.contains("Idempotency-Key"),
                keyed,
                "{method} {path}"
            );
        }
    }
}

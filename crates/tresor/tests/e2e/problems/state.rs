//! A state directory that is none.

use std::fs;

use crate::lab::Lab;

#[tokio::test]
async fn a_state_directory_that_is_a_file() {
    let lab = Lab::without_vault();
    fs::write(lab.state(), "").unwrap();
    let problem = lab.run(&["vm", "list"]).await.raises("StateUnusable");
    let path = problem["fields"]["path"].as_str().unwrap();
    assert!(path.starts_with(lab.state().to_str().unwrap()), "{problem}");
}

#[tokio::test]
async fn a_catalog_that_is_garbage() {
    let lab = Lab::without_vault();
    fs::create_dir(lab.state()).unwrap();
    let catalog = lab.state().join("catalog.db");
    let garbage = "this is no database ".repeat(1000);
    fs::write(&catalog, &garbage).unwrap();
    lab.run(&["vm", "list"]).await.raises("StateUnusable");
    assert_eq!(
        fs::read_to_string(&catalog).unwrap(),
        garbage,
        "left as it is"
    );
}

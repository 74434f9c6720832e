//! Vaults in object stores: what `vault create` refuses.

use tresor_testkit::stores::{Fault, Moto, Proxy};

use crate::{lab::Lab, stores::run_on};

/// A server that accepts the condition of a put and ignores it. It is told at `vault create`, which
/// leaves nothing there, and by the doctor.
#[tokio::test]
async fn a_store_that_overwrites() {
    let lab = Lab::without_vault();
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    let careless = Proxy::start(moto.url(), Fault::Strip("if-none-match"))
        .await
        .unwrap();
    let create = ["vault", "create", "s3://bucket/vault"];
    let problem = run_on(&lab, careless.url(), &create)
        .await
        .raises("VaultStorageUnfit");
    assert_eq!(
        problem["fields"]["check"], "nothing is overwritten",
        "{problem}"
    );
    assert_eq!(problem["fields"]["location"], "s3://bucket/vault");
    let doctor = ["vault", "doctor", "s3://bucket/vault"];
    run_on(&lab, careless.url(), &doctor)
        .await
        .raises("VaultStorageUnfit");
    // The same server, asked directly, is good, and nothing is in the way.
    run_on(&lab, moto.url(), &create).await.ok();
}

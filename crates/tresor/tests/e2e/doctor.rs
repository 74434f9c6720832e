//! `vault doctor`, row by row: a careless store is told by the row that is about it, and by no other.

use serde_json::Value;
use tresor_testkit::stores::{Fault, Moto, Proxy};

use crate::{lab::Lab, stores::run_on};

const LOCKING: &str = "s3://locking/vault";
const PLAIN: &str = "s3://plain/vault";

/// Rows of the doctor: check and verdict.
fn verdicts(rows: &[Value]) -> Vec<(String, String)> {
    let cell = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    rows.iter()
        .filter_map(|row| Some((cell(row, "check")?, cell(row, "verdict")?)))
        .collect()
}

/// The checks with a verdict that is worth a look.
fn of(verdicts: &[(String, String)], wanted: &str) -> Vec<String> {
    let found = verdicts.iter().filter(|(_, verdict)| verdict == wanted);
    found.map(|(check, _)| check.clone()).collect()
}

async fn examine(lab: &Lab, moto: &Moto, fault: Fault, url: &str) -> Vec<(String, String)> {
    let said = format!("{fault:?}");
    let proxy = Proxy::start(moto.url(), fault).await.unwrap();
    let run = run_on(lab, proxy.url(), &["vault", "doctor", url]).await;
    let rows = verdicts(&run.lines());
    assert!(rows.len() > 15, "{said}: {rows:?}");
    rows
}

#[tokio::test]
async fn each_fault_has_its_row() {
    let (lab, moto) = (Lab::without_vault(), Moto::start().unwrap());
    moto.make_locking_bucket("locking").await.unwrap();
    moto.make_bucket("plain", false).await.unwrap();
    let good = examine(&lab, &moto, Fault::None, LOCKING).await;
    assert!(of(&good, "broken").is_empty(), "{good:?}");
    assert!(of(&good, "warning").is_empty(), "{good:?}");
    for (fault, broken) in [
        (
            Fault::Strip("if-none-match"),
            &[
                "nothing is overwritten",
                "of racing puts one wins",
                "readers see no half object",
            ][..],
        ),
        (
            Fault::IgnoreRetention,
            &["locks on objects (S3 Object Lock) hold"],
        ),
        (
            Fault::IgnoreLocks,
            &["locks on objects (S3 Object Lock) hold"],
        ),
    ] {
        let said = format!("{fault:?}");
        let rows = examine(&lab, &moto, fault, LOCKING).await;
        assert_eq!(of(&rows, "broken"), broken, "{said}: {rows:?}");
        assert_eq!(rows.len(), good.len(), "{said}");
    }
    // What lists and reads stand on, much stands on: those rows are among the broken ones.
    for (fault, row) in [
        (Fault::LoseLastListed, "a list is sorted and complete"),
        (Fault::SpoilBodies, "an object comes back as it was put"),
        (Fault::IgnoreDeletes, "deleting twice is deleting once"),
    ] {
        let said = format!("{fault:?}");
        let rows = examine(&lab, &moto, fault, PLAIN).await;
        let broken = of(&rows, "broken");
        assert!(
            broken.iter().any(|broken| broken == row),
            "{said}: {rows:?}"
        );
    }
    for (fault, verdict, row) in [
        (
            Fault::WrongClock,
            "warning",
            "the server's clock agrees with ours",
        ),
        (
            Fault::ForbidRetention,
            "warning",
            "locks on objects (S3 Object Lock) hold",
        ),
        (
            Fault::ForbidDeletes,
            "note",
            "what these credentials may do",
        ),
        (Fault::AppendOnly, "good", "hosts may reach it directly"),
    ] {
        let said = format!("{fault:?}");
        let rows = examine(&lab, &moto, fault, LOCKING).await;
        assert!(of(&rows, "broken").is_empty(), "{said}: {rows:?}");
        let found = of(&rows, verdict);
        assert!(found.iter().any(|found| found == row), "{said}: {rows:?}");
    }
}

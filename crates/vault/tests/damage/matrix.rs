//! Kinds × damages × operations: what is seen is what is expected.

use crate::expected::expected;
use crate::inflict::DAMAGES;
use crate::kinds::KINDS;
use crate::observe::{Case, OPERATIONS};
use crate::sample::Sample;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_what_is_expected() {
    let sample = Sample::make().await;
    let mut wrong = Vec::new();
    for kind in KINDS {
        for damage in DAMAGES {
            let (object, _, _, _) = sample.object(kind);
            let mut seen = Vec::new();
            for operation in OPERATIONS {
                let backend = sample.damaged(kind, damage).await;
                let case = Case {
                    sample: &sample,
                    kind,
                    backend,
                    object,
                };
                seen.push(case.observe(operation).await);
                case.others_are_whole(&format!("{kind:?} {damage:?} {operation:?}"))
                    .await;
            }
            if seen != expected(kind, damage) {
                wrong.push(format!("{kind:?} {damage:?}: {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "seen:\n{}", wrong.join("\n"));
}

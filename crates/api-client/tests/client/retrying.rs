//! What is lost is sent again, with the same key; what is refused is not.

use tresor_api_client::types::{JobQuery, NewToken, Protect};
use tresor_model::{TokenRole, VmId};
use tresor_problem::{Kind, Problem};

use crate::support::{Says, Script, Service};

fn refusal(kind: Kind) -> String {
    serde_json::to_string(&Problem::from(kind)).unwrap()
}

fn too_many() -> String {
    refusal(Kind::TooManyRequests {
        who: "you".to_owned(),
        pause_s: "0".to_owned(),
    })
}

const EMPTY: &str = r#"{"items":[],"next":null}"#;

fn page() -> Says {
    Says::This(200, Vec::new(), EMPTY.to_owned())
}

#[tokio::test]
async fn a_read_goes_on_whatever_is_lost_or_asked_to_come_later() {
    let later = Says::This(429, vec![("retry-after", "0")], too_many());
    let cut = Says::Cut("{\"items\":".to_owned());
    let script = Script::new([Says::Lost, later, cut, page()]);
    let jobs = script.client().jobs(&JobQuery::default()).all().await;
    assert!(jobs.unwrap().is_empty());
    assert_eq!(script.sends(), 4);
}

#[tokio::test]
async fn a_change_has_one_key_however_often_it_is_sent() {
    let vm = VmId::from_uuid(uuid::Uuid::new_v4());
    let asked = Protect {
        policy: "nightly".to_owned(),
        vault: None,
        name: None,
    };
    let key = || {
        refusal(Kind::RequestInProgress {
            key: "k".to_owned(),
        })
    };
    let busy = Says::This(409, Vec::new(), key());
    let script = Script::new([Says::Lost, busy, Says::Lost, Says::Lost]);
    let client = script.client();
    let lost = client.protect(vm, &asked).await.unwrap_err();
    assert!(lost.is("ServiceUnreachable"), "{lost}");
    let first = script.header("idempotency-key");
    assert_eq!(first.len(), 4);
    assert!(
        first[0].is_some() && first.iter().all(|key| *key == first[0]),
        "{first:?}"
    );
    // The next change has another one.
    client.protect(vm, &asked).await.unwrap_err();
    assert_ne!(script.header("idempotency-key")[4], first[0]);
}

#[tokio::test]
async fn what_is_refused_and_what_has_no_key_is_sent_once() {
    let denied = refusal(Kind::PermissionDenied {
        role: "reader".to_owned(),
        action: "x".to_owned(),
    });
    let script = Script::new([Says::This(403, Vec::new(), denied), page()]);
    let problem = script.client().jobs(&JobQuery::default()).all().await;
    assert!(problem.unwrap_err().is("PermissionDenied"));
    assert_eq!(script.sends(), 1);

    let script = Script::new([Says::Lost, page()]);
    let asked = NewToken {
        name: "one".to_owned(),
        role: TokenRole::Reader,
        expires_at: None,
    };
    script
        .client()
        .make_token(&asked)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(script.sends(), 1);
}

#[tokio::test]
async fn a_server_that_asks_for_too_long_a_pause_is_not_waited_for() {
    let later = Says::This(503, vec![("retry-after", "3600")], too_many());
    let script = Script::new([later, page()]);
    let problem = script.client().status().await.unwrap_err();
    assert!(problem.is("TooManyRequests"), "{problem}");
    assert_eq!(script.sends(), 1);
}

#[tokio::test]
async fn problems_are_the_services_own_and_lists_have_all_pages() {
    let service = Service::new().await;
    let client = service.client().await;
    let problem = client.policy("none").await.unwrap_err();
    assert!(problem.is("ObjectNotFound"), "{problem}");
    assert_eq!(problem.fields["name"], "none");
    let asked = tresor_api_client::types::PageQuery {
        limit: Some(7),
        ..Default::default()
    };
    let all = client.problems(&asked).all().await.unwrap();
    assert_eq!(all.len(), Kind::ENTRIES.len());
    let some = client.problems(&asked).first(10).await.unwrap();
    assert_eq!(some.len(), 10);
    let stream = client.problems(&asked).into_stream();
    let stream = futures::TryStreamExt::try_collect::<Vec<_>>(stream).await;
    assert_eq!(stream.unwrap().len(), all.len());
}

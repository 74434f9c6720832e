//! Tokens of the API, and tokens by which hosts enrol.

use futures::future::join_all;
use tresor_catalog::{
    Catalog, CatalogErrorKind, Enrolling, EnrolmentRecord, Object, Page, SecretHash, TokenRecord,
    TokenRole,
};
use tresor_model::{HostId, TokenId};

use super::{kind, now, seconds};

pub(super) async fn check(one: &Catalog, two: &Catalog) {
    tokens(one).await;
    enrolments(one).await;
    one_of_eight_enrols(one, two).await;
}

fn hash(byte: u8) -> SecretHash {
    SecretHash::from([byte; 32])
}

fn token(name: &str, byte: u8, role: TokenRole) -> TokenRecord {
    TokenRecord {
        id: TokenId::generate(),
        name: name.to_owned(),
        hash: hash(byte),
        role,
        created_at: now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

async fn tokens(catalog: &Catalog) {
    let mut ci = token("ci", 1, TokenRole::Operator);
    let admin = token("me", 2, TokenRole::Admin);
    let reader = TokenRecord {
        expires_at: Some(now() + seconds(60)),
        ..token("me", 3, TokenRole::Reader)
    };
    for each in [&ci, &admin, &reader] {
        catalog.add_token(each).await.expect("add");
    }
    let taken = CatalogErrorKind::AlreadyExists(Object::Token);
    let same_hash = token("other", 1, TokenRole::Admin);
    assert_eq!(kind(catalog.add_token(&same_hash).await), taken);
    let by_hash = catalog.token_by_hash(&hash(3)).await.expect("look");
    assert_eq!(by_hash.as_ref(), Some(&reader));
    assert!(reader.is_valid(now()) && !reader.is_valid(now() + seconds(61)));
    assert_eq!(catalog.token_by_hash(&hash(9)).await.expect("look"), None);

    let used = now();
    for at in [used, used - seconds(5)] {
        catalog.note_token_used(ci.id, at).await.expect("used");
    }
    for at in [used, used + seconds(5)] {
        catalog.revoke_token(ci.id, at).await.expect("revoke");
    }
    let forget = catalog.forget_tokens_ended_before(now() + seconds(30));
    assert_eq!(forget.await.expect("forget"), 0);
    let past = TokenRecord {
        expires_at: Some(now() - seconds(60)),
        ..token("past", 4, TokenRole::Admin)
    };
    catalog.add_token(&past).await.expect("add");
    let forget = catalog.forget_tokens_ended_before(now() - seconds(59));
    assert_eq!(forget.await.expect("forget"), 1);
    let gone = CatalogErrorKind::NotFound(Object::Token);
    assert_eq!(kind(catalog.token(past.id).await), gone);

    (ci.last_used_at, ci.revoked_at) = (Some(used), Some(used));
    assert_eq!(catalog.token(ci.id).await.expect("token"), ci);
    assert!(!ci.is_valid(used));
    let list = async |after| {
        let page = Page { after, limit: 2 };
        catalog.tokens(&page).await.expect("tokens")
    };
    assert_eq!(list(None).await, [ci, admin.clone()]);
    assert_eq!(list(Some(admin.id)).await, [reader]);
    let (nobody, missing) = (
        TokenId::generate(),
        CatalogErrorKind::NotFound(Object::Token),
    );
    assert_eq!(kind(catalog.token(nobody).await), missing);
    assert_eq!(kind(catalog.note_token_used(nobody, used).await), missing);
    assert_eq!(kind(catalog.revoke_token(nobody, used).await), missing);
}

fn enrolment(byte: u8) -> EnrolmentRecord {
    EnrolmentRecord {
        hash: hash(byte),
        host_name: None,
        created_at: now(),
        expires_at: now() + seconds(600),
        used_at: None,
        host: None,
    }
}

async fn enrolments(catalog: &Catalog) {
    let (host, at) = (HostId::generate(), now());
    let mut first = EnrolmentRecord {
        host_name: Some("node1".to_owned()),
        ..enrolment(1)
    };
    let over = EnrolmentRecord {
        expires_at: at,
        ..enrolment(2)
    };
    for each in [&first, &over] {
        catalog.add_enrolment(each).await.expect("add");
    }
    let again = catalog.add_enrolment(&first).await.expect_err("known");
    assert_eq!(
        again.kind,
        CatalogErrorKind::AlreadyExists(Object::Enrolment)
    );
    assert!(!again.to_string().contains(first.hash.as_str()), "{again}");
    let found = catalog.enrolment(&first.hash).await.expect("look");
    assert_eq!(found.as_ref(), Some(&first));
    let attempt = async |hash: &SecretHash, host| {
        let used = catalog.use_enrolment(hash, at, host).await;
        used.expect("attempt")
    };
    assert_eq!(attempt(&hash(9), host).await, Enrolling::Unknown);
    assert_eq!(
        attempt(&over.hash, host).await,
        Enrolling::Expired(over.clone())
    );
    let accepted = attempt(&first.hash, host).await;
    (first.used_at, first.host) = (Some(at), Some(host));
    assert_eq!(accepted, Enrolling::Accepted(first.clone()));
    for again in [host, HostId::generate()] {
        let used = attempt(&first.hash, again).await;
        assert_eq!(used, Enrolling::Used(first.clone()));
    }
    let list = async |after| {
        let page = Page { after, limit: 1 };
        catalog.enrolments(&page).await.expect("enrolments")
    };
    assert_eq!(list(None).await, [first.clone()]);
    let next = list(Some(first.hash.clone())).await;
    assert_eq!(next, std::slice::from_ref(&over));
    for each in [&first, &over] {
        catalog.remove_enrolment(&each.hash).await.expect("remove");
    }
    let missing = CatalogErrorKind::NotFound(Object::Enrolment);
    assert_eq!(kind(catalog.remove_enrolment(&over.hash).await), missing);
}

async fn one_of_eight_enrols(one: &Catalog, two: &Catalog) {
    for round in 10..20 {
        let token = enrolment(round);
        one.add_enrolment(&token).await.expect("add");
        let hosts: [HostId; 8] = std::array::from_fn(|_| HostId::generate());
        let attempts = hosts.iter().enumerate().map(|(number, host)| {
            let catalog = if number % 2 == 0 { one } else { two };
            catalog.use_enrolment(&token.hash, now(), *host)
        });
        let mut accepted = Vec::new();
        for (outcome, host) in join_all(attempts).await.into_iter().zip(hosts) {
            match outcome.expect("attempt") {
                Enrolling::Accepted(_) => accepted.push(host),
                Enrolling::Used(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let used = one.enrolment(&token.hash).await.expect("look");
        assert_eq!(used.expect("there").host.as_slice(), accepted);
    }
}

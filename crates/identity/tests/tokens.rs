//! Tokens: any text is refused or taken without a panic, and every typing error is found.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use proptest::prelude::*;
use tresor_identity::{ApiToken, EnrolmentToken, Fingerprint, MAX_TOKEN, TokenError, TokenHash};
use tresor_model::TokenId;
use uuid::Uuid;

fn enrolment() -> EnrolmentToken {
    EnrolmentToken::generate(Fingerprint::of_public_key(b"authority")).unwrap()
}

fn api() -> ApiToken {
    ApiToken::generate(TokenId::generate()).unwrap()
}

#[test]
fn tokens_are_read_again_as_people_copy_them() {
    let token = enrolment();
    let text = token.to_text();
    assert!(text.starts_with("tresor-enrol-1-"), "{text:?}");
    assert_eq!(text.len(), 108);
    let (first, rest) = text.split_at(50);
    let wrapped = format!("  {first}\r\n\t{rest}\n");
    for copied in [text.to_string(), text.to_uppercase(), wrapped] {
        let read: EnrolmentToken = copied.parse().unwrap();
        assert_eq!(read, token);
        assert_eq!(read.hash(), token.hash());
        assert_eq!(read.authority(), token.authority());
    }
    let token = api();
    let text = token.to_text();
    let id = token.id().as_uuid().simple();
    assert!(text.starts_with(&format!("tresor_{id}_")), "{text:?}");
    let read: ApiToken = text.parse().unwrap();
    assert_eq!((read.id(), read.hash()), (token.id(), token.hash()));
}

#[test]
fn nothing_that_is_kept_or_printed_gives_a_token_away() {
    let (enrolment, api) = (enrolment(), api());
    for (secret, said) in [
        (
            enrolment.to_text()[15..35].to_owned(),
            format!("{enrolment:?} {}", enrolment.hash()),
        ),
        (
            api.to_text()[40..].to_owned(),
            format!("{api:?} {}", api.hash()),
        ),
    ] {
        assert!(!said.contains(&secret), "{said}");
    }
    // The hash does not rest on the authority, and each is stored as it is read.
    let hash = enrolment.hash();
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(TokenHash::from_bytes(*hash.as_bytes()), hash);
    assert!("xyz".parse::<TokenHash>().is_err());
    assert_ne!(self::enrolment().hash(), hash);
    assert_ne!(self::api().hash(), api.hash());
}

/// The same secret under another id is another token.
#[test]
fn an_id_belongs_to_its_secret() {
    let token = api();
    let other = Uuid::now_v7().simple().to_string();
    let text = token.to_text();
    let moved = format!("tresor_{other}_{}", &text[40..]);
    assert_eq!(moved.parse::<ApiToken>(), Err(TokenError::Mistyped));
}

/// Tokens that were given out, and hashes that were stored, must go on to fit.
#[test]
fn tokens_and_hashes_are_what_they_were() {
    let text = "tresor-enrol-1-v9gjqavp4z1xkb9wgmxa2zhn6ccwgs6b1zt1cxcb-\
                hxvftm0vpt7fe7te4xnw53s9qkgg0erc5jes8y6yg6tvzg6dw7mg";
    let token: EnrolmentToken = text.parse().unwrap();
    assert_eq!(token.authority(), Fingerprint::of_public_key(b"authority"));
    let hash = "b4ebd35eab5366d1729d42e74ac1906d45dbddc7cf7dad4ead662561526dbef7";
    assert_eq!(token.hash().to_string(), hash);
    let text = "tresor_01a2214a29d174479c85b4865dc5166b_\
                q9yjq105xts28rjzr698rktf7er7jvp05xk6qjh93d5rk5hrxak8p23fypzg";
    let token: ApiToken = text.parse().unwrap();
    let hash = "864fd32f2a035dba131f9ef0f6381f944e47aa2d2c9d2285870109e2bc366aaf";
    assert_eq!(token.hash().to_string(), hash);
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let text = enrolment().to_text().to_string();
    let parse = |text: &str| text.parse::<EnrolmentToken>().unwrap_err();
    let cut = |found| TokenError::Truncated {
        expected: text.len(),
        found,
    };
    for length in [1, 7, 12, 13, 14, 15, 60, 107] {
        assert_eq!(parse(&text[..length]), cut(length), "{length}");
    }
    let longer = format!("{text}0");
    let expected = TokenError::TooLong {
        expected: text.len(),
        found: text.len() + 1,
    };
    assert_eq!(parse(&longer), expected);
    let huge = "0".repeat(MAX_TOKEN + 1);
    assert!(matches!(parse(&huge), TokenError::TooLong { .. }));
    for other in ["", "hello", "tresor_abc", &api().to_text()] {
        assert!(
            matches!(parse(other), TokenError::NotAToken { .. }),
            "{other}"
        );
    }
    let newer = text.replacen("-1-", "-2-", 1);
    let found = "2".to_owned();
    assert_eq!(parse(&newer), TokenError::VersionUnknown { found });
    let dash = text.replacen("enrol-", "enrol–", 1);
    let expected = TokenError::BadCharacter {
        at: 13,
        character: '–',
    };
    assert_eq!(parse(&dash), expected);
    let mut with_u = text.clone();
    with_u.replace_range(20..21, "u");
    let expected = TokenError::BadCharacter {
        at: 21,
        character: 'u',
    };
    assert_eq!(parse(&with_u), expected);
    let problem = parse(&with_u).enrolment_problem();
    assert!(problem.is("EnrolmentTokenInvalid"));
    assert!(problem.cause.contains("character 21, `u`"), "{problem}");
    let error = "tresor_x".parse::<ApiToken>().unwrap_err();
    assert!(error.api_problem().is("ApiTokenInvalid"));
}

/// Whether two characters are one in a token's eyes.
fn same(one: char, two: char) -> bool {
    let fold = |character: char| match character.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    fold(one) == fold(two)
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,140}") {
        prop_assert!(text.parse::<EnrolmentToken>().is_err());
        prop_assert!(text.parse::<ApiToken>().is_err());
    }

    #[test]
    fn what_looks_like_one_is_refused_too(
        enrolment in "tresor-enrol-1-[0-9a-z]{40}-[0-9a-z]{52}",
        api in "tresor_[0-9a-f]{32}_[0-9a-z]{60}",
    ) {
        prop_assert!(enrolment.parse::<EnrolmentToken>().is_err());
        prop_assert!(api.parse::<ApiToken>().is_err());
    }

    #[test]
    fn one_changed_character_is_found(at in any::<prop::sample::Index>(), to in "[!-~]") {
        let to = to.chars().next().unwrap();
        let change = |text: &str| {
            let at = at.index(text.len());
            let from = text[at..].chars().next().unwrap();
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, &to.to_string());
            (!same(from, to)).then_some(changed)
        };
        if let Some(changed) = change(&enrolment().to_text()) {
            prop_assert!(changed.parse::<EnrolmentToken>().is_err(), "{}", changed);
        }
        if let Some(changed) = change(&api().to_text()) {
            prop_assert!(changed.parse::<ApiToken>().is_err(), "{}", changed);
        }
    }

    #[test]
    fn two_swapped_characters_are_found(at in any::<prop::sample::Index>()) {
        let text = enrolment().to_text();
        let at = at.index(text.len() - 1);
        let mut bytes = text.as_bytes().to_vec();
        bytes.swap(at, at + 1);
        let swapped = String::from_utf8(bytes).unwrap();
        let folded = text.as_bytes()[at] == text.as_bytes()[at + 1];
        prop_assert!(folded || swapped.parse::<EnrolmentToken>().is_err(), "{}", swapped);
    }

    #[test]
    fn round_trip(key in any::<[u8; 8]>()) {
        let token = EnrolmentToken::generate(Fingerprint::of_public_key(&key)).unwrap();
        prop_assert_eq!(token.to_text().parse::<EnrolmentToken>(), Ok(token));
        let token = api();
        prop_assert_eq!(token.to_text().parse::<ApiToken>(), Ok(token));
    }
}

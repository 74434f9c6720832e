//! Names of a vault's objects.

use tresor_model::SessionId;
use uuid::Uuid;

use crate::id::PackId;

/// The vault's header.
pub const VAULT: &str = "vault";
/// Prefix of key slots.
pub const SLOTS: &str = "keys/slot-";
/// Prefix of key rings.
pub const RINGS: &str = "keys/ring-";
/// Prefix of packs.
pub const PACKS: &str = "packs/";
/// Prefix of index runs.
pub const INDEX: &str = "index/";
/// Prefix of the plans of collect: see docs/format/commit-protocol.md.
pub const PLANS: &str = "plans/";
/// Prefix of sessions.
pub const SESSIONS: &str = "sessions/";
/// Prefix of marks of points that have expired.
pub const EXPIRED: &str = "expired/";
/// Prefix of marks of packs that are damaged.
pub const DAMAGED: &str = "damaged/";
/// Prefix of states of points.
pub const STATES: &str = "states/";
/// Prefix of locks of the vault.
pub const LOCKS: &str = "locks/";

/// `keys/slot-<32 hex>`.
#[must_use]
pub fn key_slot(slot: Uuid) -> String {
    format!("{SLOTS}{}", slot.simple())
}

/// The slot in an object name of [`key_slot`]'s form.
#[must_use]
pub fn parse_key_slot(name: &str) -> Option<Uuid> {
    let slot = Uuid::try_parse(name.strip_prefix(SLOTS)?).ok()?;
    (key_slot(slot) == name).then_some(slot)
}

/// `keys/ring-<32 hex>-<8 hex generation>`: of one ring, the last in order is the newest.
#[must_use]
pub fn key_ring(ring: Uuid, generation: u32) -> String {
    format!("{}{generation:08x}", key_ring_prefix(ring))
}

/// What the generations of one ring begin with.
#[must_use]
pub fn key_ring_prefix(ring: Uuid) -> String {
    format!("{RINGS}{}-", ring.simple())
}

/// The ring and generation in an object name of [`key_ring`]'s form.
#[must_use]
pub fn parse_key_ring(name: &str) -> Option<(Uuid, u32)> {
    let (ring, generation) = name.strip_prefix(RINGS)?.split_once('-')?;
    let ring = Uuid::try_parse(ring).ok()?;
    let generation = u32::from_str_radix(generation, 16).ok()?;
    (key_ring(ring, generation) == name).then_some((ring, generation))
}

/// `packs/<2 hex>/<32 hex>`: 256 directories, so that none becomes too large.
#[must_use]
pub fn pack(id: &PackId) -> String {
    format!("{PACKS}{:02x}/{id}", id.0[0])
}

/// The pack in an object name of [`pack`]'s form.
#[must_use]
pub fn parse_pack(name: &str) -> Option<PackId> {
    let id = name.strip_prefix(PACKS)?.get(3..)?.parse().ok()?;
    (pack(&id) == name).then_some(id)
}

/// `index/<32 hex session>-<6 digits>`.
#[must_use]
pub fn index_run(session: SessionId, number: u32) -> String {
    format!("{INDEX}{}-{number:06}", session.as_uuid().simple())
}

/// The session and number in an object name of [`index_run`]'s form.
#[must_use]
pub fn parse_index_run(name: &str) -> Option<(SessionId, u32)> {
    let (session, number) = name.strip_prefix(INDEX)?.split_once('-')?;
    let parsed = (parse_session(session)?, number.parse().ok()?);
    (index_run(parsed.0, parsed.1) == name).then_some(parsed)
}

/// `sessions/<32 hex>.begin`.
#[must_use]
pub fn session_begin(session: SessionId) -> String {
    format!("{SESSIONS}{}.begin", session.as_uuid().simple())
}

/// `sessions/<32 hex>.end`.
#[must_use]
pub fn session_end(session: SessionId) -> String {
    format!("{SESSIONS}{}.end", session.as_uuid().simple())
}

/// `expired/<32 hex session>`.
#[must_use]
pub fn expired(session: SessionId) -> String {
    format!("{EXPIRED}{}", session.as_uuid().simple())
}

/// The session in an object name of [`expired`]'s form.
#[must_use]
pub fn parse_expired(name: &str) -> Option<SessionId> {
    parse_session(name.strip_prefix(EXPIRED)?)
}

/// `damaged/<32 hex pack>`.
#[must_use]
pub fn damaged(pack: &PackId) -> String {
    format!("{DAMAGED}{pack}")
}

/// The pack in an object name of [`damaged`]'s form.
#[must_use]
pub fn parse_damaged(name: &str) -> Option<PackId> {
    name.strip_prefix(DAMAGED)?.parse().ok()
}

/// `states/<32 hex session>-<8 hex number>`: of one session, the last in order is the newest.
#[must_use]
pub fn state(session: SessionId, number: u32) -> String {
    format!("{}{number:08x}", state_prefix(session))
}

/// What the states of one session begin with.
#[must_use]
pub fn state_prefix(session: SessionId) -> String {
    format!("{STATES}{}-", session.as_uuid().simple())
}

/// The session and number in an object name of [`state`]'s form.
#[must_use]
pub fn parse_state(name: &str) -> Option<(SessionId, u32)> {
    let (session, number) = name.strip_prefix(STATES)?.split_once('-')?;
    let parsed = (
        parse_session(session)?,
        u32::from_str_radix(number, 16).ok()?,
    );
    (state(parsed.0, parsed.1) == name).then_some(parsed)
}

/// `locks/<8 hex number>`.
#[must_use]
pub fn lock(number: u32) -> String {
    format!("{LOCKS}{number:08x}")
}

/// The number in an object name of [`lock`]'s form.
#[must_use]
pub fn parse_lock(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name.strip_prefix(LOCKS)?, 16).ok()?;
    (lock(number) == name).then_some(number)
}

/// `plans/<8 digits>`.
#[must_use]
pub fn plan_claim(number: u32) -> String {
    format!("{PLANS}{number:08}")
}

/// `plans/<8 digits>-<32 hex collector>`.
#[must_use]
pub fn plan(number: u32, collector: SessionId) -> String {
    format!("{PLANS}{number:08}-{}", collector.as_uuid().simple())
}

/// `plans/<8 digits>.verdict`.
#[must_use]
pub fn plan_verdict(number: u32) -> String {
    format!("{PLANS}{number:08}.verdict")
}

/// `plans/<8 digits>.done`.
#[must_use]
pub fn plan_done(number: u32) -> String {
    format!("{PLANS}{number:08}.done")
}

/// Which of a plan's objects a name is, with the plan's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanObject {
    /// [`plan_claim`].
    Claim(u32),
    /// [`plan`].
    Plan(u32, SessionId),
    /// [`plan_verdict`].
    Verdict(u32),
    /// [`plan_done`].
    Done(u32),
}

/// The plan in an object name of its form.
#[must_use]
pub fn parse_plan_object(name: &str) -> Option<PlanObject> {
    let rest = name.strip_prefix(PLANS)?;
    let digits = rest.get(
        ..rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len()),
    )?;
    let number = digits.parse().ok()?;
    let (object, exact) = match rest.strip_prefix(digits)? {
        "" => (PlanObject::Claim(number), plan_claim(number)),
        ".verdict" => (PlanObject::Verdict(number), plan_verdict(number)),
        ".done" => (PlanObject::Done(number), plan_done(number)),
        collector => {
            let collector = parse_session(collector.strip_prefix('-')?)?;
            (PlanObject::Plan(number, collector), plan(number, collector))
        }
    };
    (exact == name).then_some(object)
}

/// Which of a session's two objects a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionObject {
    /// [`session_begin`].
    Begin(SessionId),
    /// [`session_end`].
    End(SessionId),
}

/// The session in an object name of its form.
#[must_use]
pub fn parse_session_object(name: &str) -> Option<SessionObject> {
    let (session, kind) = name.strip_prefix(SESSIONS)?.split_once('.')?;
    let session = parse_session(session)?;
    match kind {
        "begin" => Some(SessionObject::Begin(session)),
        "end" => Some(SessionObject::End(session)),
        _ => None,
    }
}

/// Exactly the form that the writers above use, so that no two names mean one object.
fn parse_session(text: &str) -> Option<SessionId> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.simple().to_string() == text).then_some(SessionId::from_uuid(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_only_in_their_exact_form() {
        let id = PackId::new([0xab; 12], 7);
        assert_eq!(parse_pack(&pack(&id)), Some(id));
        assert_eq!(parse_pack(&pack(&id).replace("packs/ab", "packs/ac")), None);
        let session = SessionId::generate();
        assert_eq!(
            parse_index_run(&index_run(session, 12)),
            Some((session, 12))
        );
        assert_eq!(
            parse_index_run(&index_run(session, 12).replace("-000012", "-12")),
            None
        );
        assert_eq!(
            parse_session_object(&session_end(session)),
            Some(SessionObject::End(session))
        );
        assert_eq!(parse_expired(&expired(session)), Some(session));
        assert_eq!(parse_damaged(&damaged(&id)), Some(id));
        assert_eq!(parse_state(&state(session, 0xab)), Some((session, 0xab)));
        assert_eq!(
            parse_state(&state(session, 0xab).replace("-0000", "-")),
            None
        );
        assert_eq!(parse_lock(&lock(2)), Some(2));
        let uuid = *session.as_uuid();
        assert_eq!(parse_key_slot(&key_slot(uuid)), Some(uuid));
        assert_eq!(parse_key_slot(&format!("{SLOTS}{uuid}")), None);
        assert_eq!(parse_key_ring(&key_ring(uuid, 0xab)), Some((uuid, 0xab)));
        assert_eq!(
            parse_key_ring(&key_ring(uuid, 0xab).replace("-000000", "-")),
            None
        );
        assert_eq!(parse_lock("locks/+0000002"), None);
        for (text, object) in [
            (plan_claim(7), PlanObject::Claim(7)),
            (plan(7, session), PlanObject::Plan(7, session)),
            (plan_verdict(7), PlanObject::Verdict(7)),
            (plan_done(7), PlanObject::Done(7)),
        ] {
            assert_eq!(parse_plan_object(&text), Some(object));
            assert_eq!(parse_plan_object(&text.replace("00000007", "7")), None);
        }
        let upper = session_end(session).to_uppercase();
        for odd in ["", "sessions/", "sessions/x.end", "packs/é", upper.as_str()] {
            assert_eq!(parse_session_object(odd), None);
            assert_eq!(parse_pack(odd), None);
            assert_eq!(parse_expired(odd), None);
            assert_eq!(parse_damaged(odd), None);
            assert_eq!(parse_state(odd), None);
            assert_eq!(parse_lock(odd), None);
            assert_eq!(parse_key_slot(odd), None);
            assert_eq!(parse_key_ring(odd), None);
            assert_eq!(parse_plan_object(odd), None);
        }
    }
}

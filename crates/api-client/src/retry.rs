//! Whether a request is sent again, and when: a pure decision.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tresor_problem::Problem;

/// A server that asks for a longer pause is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often a request is sent, and how long the pauses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Times that it is sent in all.
    pub sends: u32,
    /// The first pause; each one after it is twice as long, up to ten seconds.
    pub first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            sends: 6,
            first_pause: Duration::from_millis(250),
        }
    }
}

impl Patience {
    /// The pause before the send after `sent` ones; `None`: there is no further one. `asked` is what the server
    /// asks for; `dice`, 0 to 255, spreads those who came at the same moment.
    pub(crate) fn pause(self, sent: u32, asked: Option<Duration>, dice: u8) -> Option<Duration> {
        if sent >= self.sends || asked.is_some_and(|asked| asked > LONGEST_PAUSE) {
            return None;
        }
        let doubled = self.first_pause * 2_u32.saturating_pow(sent.saturating_sub(1).min(10));
        let pause = doubled.min(Duration::from_secs(10));
        let pause = pause / 2 + pause / 2 * u32::from(dice) / 255;
        Some(asked.map_or(pause, |asked| asked + pause / 4))
    }
}

/// Whether an answer asks to send the request again later.
pub(crate) fn is_for_later(status: StatusCode, problem: &Problem) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) || problem.is("RequestInProgress")
}

/// How long the server asks to wait.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use tresor_problem::Kind;

    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let patience = Patience {
            sends: 4,
            first_pause: Duration::from_millis(100),
        };
        let ms = |sent, dice| patience.pause(sent, None, dice).map(|it| it.as_millis());
        assert_eq!(
            [1, 2, 3, 4].map(|sent| ms(sent, 255)),
            [Some(100), Some(200), Some(400), None]
        );
        assert_eq!(ms(3, 0), Some(200));
        let long = Patience {
            sends: u32::MAX,
            ..patience
        };
        assert_eq!(long.pause(1000, None, 255), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_server_is_waited_for_as_it_asks_and_no_longer_than_a_minute() {
        let patience = Patience::default();
        let asked = |seconds| patience.pause(1, Some(Duration::from_secs(seconds)), 0);
        assert!(asked(2).unwrap() >= Duration::from_secs(2));
        assert_eq!(asked(61), None);
        assert_eq!(asked(u64::MAX), None);
    }

    #[test]
    fn what_is_for_later() {
        let problem = |kind: Kind| Problem::from(kind);
        let key = String::new;
        let in_progress = problem(Kind::RequestInProgress { key: key() });
        let reused = problem(Kind::RequestKeyReused { key: key() });
        for (status, problem, later) in [
            (429, &reused, true),
            (503, &reused, true),
            (409, &in_progress, true),
            (409, &reused, false),
            (500, &reused, false),
            (504, &reused, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_for_later(status, problem), later, "{status}");
        }
    }
}

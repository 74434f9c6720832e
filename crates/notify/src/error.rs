//! Why something did not go out.

/// Something did not go out. The text names no path of a URL and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody answered, or not in time.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// Why.
        reason: String,
    },
    /// It was answered, and not taken.
    #[error("{server} answered {answer}")]
    Refused {
        /// Which server.
        server: String,
        /// What it said.
        answer: String,
    },
    /// It cannot be sent as it is set up.
    #[error("it cannot be sent so: {reason}")]
    Unfit {
        /// Why.
        reason: String,
    },
}

/// An error and those below it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(below) = next {
        let more = below.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = below.source();
    }
    crate::text::one_line(&text, 300)
}

//! A sign of life to a service that misses it: healthchecks.io and its like.

use reqwest::Url;

use crate::{SendError, Sender, settings::shown_url, text::one_line};

const LONGEST: usize = 1000;

impl Sender {
    /// Calls a heartbeat URL; with `at_risk`, its `/fail`, with that text.
    ///
    /// # Errors
    /// What the server says, or that none answers.
    pub async fn heartbeat(&self, url: &str, at_risk: Option<&str>) -> Result<(), SendError> {
        let server = shown_url(url);
        let mut url = Url::parse(url).map_err(|error| SendError::Unfit {
            reason: error.to_string(),
        })?;
        let request = match at_risk {
            None => self.http.get(url),
            Some(text) => {
                let path = format!("{}/fail", url.path().trim_end_matches('/'));
                url.set_path(&path);
                self.http.post(url).body(one_line(text, LONGEST))
            }
        };
        self.ask(&server, request).await
    }
}

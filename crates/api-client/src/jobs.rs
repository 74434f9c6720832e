//! Jobs.

use http::Method;
use tresor_api_types::{JobDetail, JobQuery, JobView};
use tresor_model::JobId;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Jobs, newest first.
    #[must_use]
    pub fn jobs(&self, asked: &JobQuery) -> Pages<JobView> {
        Pages::new(self, &["jobs"], asked)
    }

    /// A job with its story.
    ///
    /// # Errors
    /// `JobNotFound`, and whatever keeps the service from answering.
    pub async fn job(&self, job: JobId) -> Result<JobDetail, Problem> {
        self.read(Call::get(path(&["jobs", &job.to_string()])))
            .await
    }

    /// Asks for a job's end.
    ///
    /// # Errors
    /// `JobNotFound`, and whatever keeps the service from answering.
    pub async fn cancel_job(&self, job: JobId) -> Result<JobView, Problem> {
        let path = path(&["jobs", &job.to_string(), "cancel"]);
        self.read(Call::change(Method::POST, path)).await
    }
}

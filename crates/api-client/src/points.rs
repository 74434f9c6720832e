//! Recovery points.

use http::Method;
use tresor_api_types::{JobView, PointQuery, PointView, Restore};
use tresor_model::PointId;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Recovery points, newest first, as the service's catalog knows them.
    #[must_use]
    pub fn points(&self, asked: &PointQuery) -> Pages<PointView> {
        Pages::new(self, &["points"], asked)
    }

    /// Restores a recovery point into a directory of a host: the job that does it.
    ///
    /// # Errors
    /// `PointNotFound`, `PermissionDenied`, and whatever keeps the service from answering.
    pub async fn restore(&self, point: PointId, asked: &Restore) -> Result<JobView, Problem> {
        let call = Call::change(
            Method::POST,
            path(&["points", &point.to_string(), "restore"]),
        );
        self.read(call.body(asked)).await
    }
}

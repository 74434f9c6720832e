//! What is only looked at.

use serde_json::Value;
use tresor_api_types::{
    AlertQuery, AlertView, AuditQuery, AuditView, DatasourceQuery, DatasourceView, PageQuery,
    ProblemEntry, StatusView,
};
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// How everything stands.
    ///
    /// # Errors
    /// Whatever keeps the service from answering.
    pub async fn status(&self) -> Result<StatusView, Problem> {
        self.read(Call::get(path(&["status"]))).await
    }

    /// The OpenAPI document of the service. It takes no token, and says nothing of the installation.
    ///
    /// # Errors
    /// Whatever keeps the service from answering.
    pub async fn description(&self) -> Result<Value, Problem> {
        self.read(Call::get(path(&["openapi.json"]))).await
    }

    /// VMs that were found, by id.
    #[must_use]
    pub fn datasources(&self, asked: &DatasourceQuery) -> Pages<DatasourceView> {
        Pages::new(self, &["datasources"], asked)
    }

    /// Alerts, newest first.
    #[must_use]
    pub fn alerts(&self, asked: &AlertQuery) -> Pages<AlertView> {
        Pages::new(self, &["alerts"], asked)
    }

    /// Who changed what, newest first.
    #[must_use]
    pub fn audit(&self, asked: &AuditQuery) -> Pages<AuditView> {
        Pages::new(self, &["audit"], asked)
    }

    /// Every problem that there can be, by code.
    #[must_use]
    pub fn problems(&self, asked: &PageQuery) -> Pages<ProblemEntry> {
        Pages::new(self, &["problems"], asked)
    }

    /// What is known of a problem.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn problem(&self, code: &str) -> Result<ProblemEntry, Problem> {
        self.read(Call::get(path(&["problems", code]))).await
    }
}

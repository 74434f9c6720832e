//! Which installation this is, and since when it is there again.

use jiff::Timestamp;
use tresor_model::{Fact, Observation, VmId};

use crate::{Catalog, CatalogError, CatalogErrorKind};

const SUBJECT: &str = "service";
const OBSERVER: &str = "tresor";
const ID: &str = "installation.id";
const RESTORED: &str = "database.restored_at";

impl Catalog {
    /// The id under which this installation keeps its database in vaults; made when it is asked for first, and
    /// the same on all machines that share the database.
    ///
    /// # Errors
    /// `Damaged` when what is noted is no such id; `Unusable` and its kin.
    pub async fn installation(&self) -> Result<VmId, CatalogError> {
        let new = VmId::generate_database().to_string();
        let new = Fact::present(ID, new, OBSERVER, Timestamp::now());
        let kept = self.first_fact(SUBJECT, &new).await?;
        let id = text(&kept).and_then(|text| text.parse().ok());
        id.filter(VmId::is_database).ok_or_else(|| {
            let wrong = "the installation's id is none";
            CatalogError::new(CatalogErrorKind::Damaged, &self.place).caused_by(wrong)
        })
    }

    /// Notes that the database was restored now.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn note_restored(&self, at: Timestamp) -> Result<(), CatalogError> {
        let fact = Fact::present(RESTORED, at.to_string(), OBSERVER, at);
        self.record_facts(SUBJECT, &[fact]).await
    }

    /// When the database was restored last; `None`: never.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn restored_at(&self) -> Result<Option<Timestamp>, CatalogError> {
        let facts = self.facts(SUBJECT).await?;
        let noted = facts.iter().find(|fact| fact.name == RESTORED);
        Ok(noted.and_then(text).and_then(|text| text.parse().ok()))
    }
}

fn text(fact: &Fact) -> Option<&str> {
    match &fact.observation {
        Observation::Present { value } => value.as_str(),
        _ => None,
    }
}

//! The latest observations, by subject.

use tresor_model::Fact;

use crate::{Catalog, CatalogError, row::to_json};

impl Catalog {
    /// Keeps facts about a subject (`vm:<id>`, `host`). An older observation of the same thing by
    /// the same observer is replaced; a newer one stays.
    ///
    /// # Errors
    /// `Unusable` and its kin; then none was kept.
    pub async fn record_facts(&self, subject: &str, facts: &[Fact]) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        for fact in facts {
            sqlx::query(
                "INSERT INTO facts (subject, name, observer, at, fact) \
                 VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (subject, name, observer) \
                 DO UPDATE SET at = excluded.at, fact = excluded.fact \
                 WHERE facts.at <= excluded.at",
            )
            .bind(subject)
            .bind(&fact.name)
            .bind(&fact.observer)
            .bind(fact.at.as_microsecond())
            .bind(to_json(&self.place, fact)?)
            .execute(&mut *change)
            .await
            .map_err(|error| self.failed(error))?;
        }
        change.commit().await.map_err(|error| self.failed(error))
    }

    /// Keeps a fact unless there is one of that name by that observer; gives the one that is kept.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn first_fact(&self, subject: &str, fact: &Fact) -> Result<Fact, CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO facts (subject, name, observer, at, fact) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (subject, name, observer) DO NOTHING",
        )
        .bind(subject)
        .bind(&fact.name)
        .bind(&fact.observer)
        .bind(fact.at.as_microsecond())
        .bind(to_json(&self.place, fact)?);
        self.write(insert).await?;
        let kept = self.facts(subject).await?.into_iter();
        let mut kept = kept.filter(|kept| kept.name == fact.name && kept.observer == fact.observer);
        Ok(kept.next().unwrap_or_else(|| fact.clone()))
    }

    /// What is known about a subject, by name and observer.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn facts(&self, subject: &str) -> Result<Vec<Fact>, CatalogError> {
        let rows = sqlx::query("SELECT fact FROM facts WHERE subject = $1 ORDER BY name, observer")
            .bind(subject)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter()
            .map(|row| self.columns(row).json("fact"))
            .collect()
    }
}

//! Finds SKUs by what a person remembers of them.

use serde::{Deserialize, Serialize};

use super::listing::{Listed, SkuRow, Weight, gather, limit};
use super::{Store, StoreError};
use crate::model::Sku;

/// How much of a query's trigrams a text must have to be found with typing errors. Too low: most of the catalog is compared. Too high: two errors in a word
/// hide it.
const LIKENESS_MIN: &str = "0.45";

/// How many SKUs each way of finding contributes at most.
const CANDIDATES_MAX: i64 = 5000;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct SkuSearch {
    /// What is remembered, without white space at its ends.
    pub query: String,
    /// Only archived ones, or only sold ones.
    pub archived: Option<bool>,
}

/// The last match of a page: its score and its code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchCursor(pub i64, pub String);

/// A SKU that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The SKU.
    pub sku: Sku,
    /// How well it fits, in millionths.
    pub score: i64,
}

impl Store {
    /// The matches after a cursor, best first: at most `rows`, and at most `bytes_max` bytes, but one at least.
    ///
    /// # Errors
    /// [`StoreError::Postgres`].
    pub async fn search_skus(
        &self,
        after: Option<&SearchCursor>,
        search: &SkuSearch,
        rows: usize,
        bytes_max: usize,
    ) -> Result<Listed<Found>, StoreError> {
        // Only this transaction has the setting: connections are shared.
        let mut transaction = self.pool.begin().await?;
        let patience = sqlx::query(include_str!("../../queries/search_patience.sql"));
        patience.bind(LIKENESS_MIN).execute(&mut *transaction).await?;
        let found = sqlx::query_as::<_, FoundRow>(include_str!("../../queries/sku_search.sql"))
            // Planned for this very query: a plan for all of them would not know which way of finding is cheap.
            .persistent(false)
            .bind(&search.query)
            .bind(words(&search.query))
            .bind(search.archived)
            .bind(CANDIDATES_MAX)
            .bind(after.map(|SearchCursor(score, _)| *score))
            .bind(after.map(|SearchCursor(_, code)| code))
            .bind(limit(rows))
            .fetch(&mut *transaction);
        let listed = gather(found, rows, bytes_max).await?;
        transaction.rollback().await?;
        Ok(listed)
    }
}

/// A query's words, all of which a name must have, or words that begin with them. Nothing but letters and digits gets into the text, so it has no operators but
/// those written here. `None` when there is no word.
fn words(query: &str) -> Option<String> {
    let words = query.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    // One letter begins half of all words, so by itself it means only itself.
    let terms = words.map(|word| if word.chars().nth(1).is_some() { format!("{word}:*") } else { word.to_owned() });
    let terms: Vec<String> = terms.collect();
    if terms.is_empty() { None } else { Some(terms.join(" & ")) }
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    #[sqlx(flatten)]
    sku: SkuRow,
    score: i64,
}

impl From<FoundRow> for Found {
    fn from(FoundRow { sku, score }: FoundRow) -> Self {
        Self { sku: sku.into(), score }
    }
}

impl Weight for Found {
    fn bytes(&self) -> usize {
        self.sku.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn only_letters_and_digits_get_into_a_query() {
        assert_eq!(words("ergo-chair 3.5").as_deref(), Some("ergo:* & chair:* & 3 & 5"));
        assert_eq!(words("Größe').; DROP -- & | ! <-> :* %_").as_deref(), Some("Größe:* & DROP:*"));
        assert_eq!(words("%_'\\"), None);
    }
}

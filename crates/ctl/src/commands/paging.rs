//! Reading pages until there are enough.

use clap::Args;
use holdfast_client::Error;
use serde_json::Value;

use crate::failure::Failure;
use crate::output;

/// How much of a list to print.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Paging {
    /// The most to print.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) limit: usize,
}

/// The most that is asked for on a page; every list takes at least as many.
const PAGE_SIZE_MAX: usize = 500;

impl Paging {
    /// Reads pages, by `page(size, token)`, until the limit is reached or the list ends. Says so if there is more.
    pub(crate) async fn collect(
        self,
        mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<Value>, String), Error>,
    ) -> Result<Vec<Value>, Failure> {
        let (mut items, mut token) = (Vec::new(), String::new());
        while items.len() < self.limit {
            let size = i32::try_from((self.limit - items.len()).min(PAGE_SIZE_MAX)).expect("500 is an i32");
            let (more, next) = page(size, token).await.map_err(Failure::reading)?;
            items.extend(more);
            token = next;
            if token.is_empty() {
                return Ok(items);
            }
        }
        items.truncate(self.limit);
        output::note(&format!("There are more than {}; --limit prints more.", self.limit));
        Ok(items)
    }
}

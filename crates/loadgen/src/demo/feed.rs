//! The vendor's side: a connection, and files that are sent to it until each row has its outcome.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use holdfast_client::api::vendorsync::v1::{
    Connection, CsvSchema, FeedMode, ListQuarantinedRowsRequest, QuantityMeaning, QuarantineState, QuarantinedRow, Run,
    RunState, UploadFeedSpec,
};
use holdfast_client::{Decision, RequestKey};
use holdfast_ctl::files::{CsvFile, Meaning};
use prost_types::Timestamp;

use super::Services;
use super::say::{Say, count};
use super::setup::is_there;

/// How long a file may take, from the first byte to the last row's outcome.
pub(super) const FILE_TIMEOUT: Duration = Duration::from_secs(600);

/// How often the vendor promises a number: so long that nothing ages while somebody looks around afterwards.
const CADENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The person who decides in the demo.
pub(super) const OPERATOR: &str = "demo-operator";

/// A vendor's feed.
pub(super) struct Feed<'a> {
    pub(super) services: &'a Services,
    pub(super) vendor: &'a str,
    pub(super) location: &'a str,
    pub(super) connection: &'a str,
    pub(super) say: &'a Say,
}

impl Feed<'_> {
    /// Says how the connection's files look, by an example. True if a file of it was applied before.
    ///
    /// # Errors
    /// Vendor-sync refuses or does not answer.
    pub(super) async fn register(&self, like: &CsvFile) -> anyhow::Result<bool> {
        let columns = like.stock_columns()?;
        let meaning = match columns.meaning {
            Meaning::OnHand => QuantityMeaning::OnHand,
            Meaning::Available => QuantityMeaning::Available,
        };
        let schema = CsvSchema {
            delimiter: like.delimiter().to_string(),
            header: like.header().to_vec(),
            key_column: columns.key,
            quantity_column: columns.quantity,
        };
        let connection = Connection {
            code: self.connection.to_owned(),
            vendor: self.vendor.to_owned(),
            location: self.location.to_owned(),
            mode: FeedMode::Full.into(),
            meaning: meaning.into(),
            csv_schema: Some(schema),
            cadence: prost_types::Duration::try_from(CADENCE).ok(),
            ..Connection::default()
        };
        let created = self.services.vendor_sync.create_connection(RequestKey::new(), connection).await;
        is_there(created).context("the vendor's feed could not be registered")?;
        let known = self.services.vendor_sync.get_connection(self.connection).await;
        let known = known.context("the vendor's feed cannot be read")?.connection.unwrap_or_default();
        Ok(known.applied_as_of_time.is_some())
    }

    /// Sends a file as counted now, and waits for its end.
    ///
    /// # Errors
    /// Vendor-sync does not take it, or does not come to an end with it.
    pub(super) async fn upload(&self, name: &str, file: &[u8]) -> anyhow::Result<Run> {
        let step = self.say.counted(&format!("Uploading {name}"), file.len());
        let spec = UploadFeedSpec {
            connection: self.connection.to_owned(),
            as_of_time: Some(Timestamp::from(SystemTime::now())),
            file_name: name.to_owned(),
            ..UploadFeedSpec::default()
        };
        let vendor_sync = self.services.vendor_sync.with_deadline(FILE_TIMEOUT);
        let answer = vendor_sync.upload_feed(RequestKey::new(), spec, file.to_vec().into(), step.bytes()).await;
        let run = answer.with_context(|| format!("{name} could not be uploaded"))?.run;
        step.now("Applying it");
        let run = self.until_ended(run.context("the answer has no run")?).await?;
        step.done(&words(&run));
        Ok(run)
    }

    /// Believes a held file, as a person who has looked at it.
    ///
    /// # Errors
    /// Vendor-sync refuses or does not answer.
    pub(super) async fn approve(&self, run: &Run, why: &str) -> anyhow::Result<Run> {
        let step = self.say.step(&format!("{OPERATOR} approves it ({why})"));
        let vendor_sync = self.services.vendor_sync.with_deadline(FILE_TIMEOUT);
        let answer = vendor_sync.approve_run(RequestKey::new(), &run.run_id, &decision(why)).await;
        let run = answer.context("the held file could not be approved")?.run.context("the answer has no run")?;
        let run = self.until_ended(run).await?;
        step.done(&words(&run));
        Ok(run)
    }

    /// Waits for a run that goes on in the background.
    ///
    /// # Errors
    /// Vendor-sync does not answer, or does not come to an end with it.
    pub(super) async fn until_ended(&self, mut run: Run) -> anyhow::Result<Run> {
        let ends = std::time::Instant::now() + FILE_TIMEOUT;
        while run.state() == RunState::Applying {
            let late = std::time::Instant::now() >= ends;
            anyhow::ensure!(!late, "run {} is still being applied: {}", run.run_id, run.reason);
            tokio::time::sleep(Duration::from_millis(200)).await;
            run = self.services.vendor_sync.get_run(&run.run_id).await?.run.unwrap_or_default();
        }
        Ok(run)
    }

    /// What of a run waits for a person, of one SKU.
    ///
    /// # Errors
    /// Vendor-sync does not answer.
    pub(super) async fn waiting(&self, run: &Run, sku: &str) -> anyhow::Result<Option<QuarantinedRow>> {
        let request = ListQuarantinedRowsRequest {
            page_size: 1,
            state: QuarantineState::Pending.into(),
            run_id: run.run_id.clone(),
            sku: sku.to_owned(),
            ..ListQuarantinedRowsRequest::default()
        };
        let page = self.services.quarantine.list_quarantined_rows(request).await;
        Ok(page.context("the quarantine cannot be read")?.rows.into_iter().next())
    }
}

pub(super) fn decision(why: &str) -> Decision {
    Decision { actor: OPERATOR.to_owned(), reason: why.to_owned() }
}

/// How a run ended: its rows by outcome, or why it did not come to that.
fn words(run: &Run) -> String {
    match run.state() {
        RunState::Applied | RunState::Applying | RunState::Unspecified => {}
        state @ (RunState::Refused | RunState::Held | RunState::Rejected | RunState::Superseded) => {
            return format!("{}: {}", state.as_str_name().trim_start_matches("RUN_STATE_"), run.reason);
        }
    }
    let totals = run.totals.unwrap_or_default();
    let parts = [
        (totals.applied, "applied"),
        (totals.unchanged, "as they were"),
        (totals.stale, "stale"),
        (totals.unmapped, "unmapped"),
        (totals.rejected, "rejected"),
        (totals.quarantined, "quarantined"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{} {what}", count(*rows))).collect();
    format!("{} rows: {}", count(totals.rows), parts.join(", "))
}

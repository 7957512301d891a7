//! `holdctl quarantine`: numbers that a guard stopped, and deciding them.

use clap::{Subcommand, ValueEnum};
use holdfast_client::RequestKey;
use holdfast_client::api::vendorsync::v1::{
    ListQuarantinedRowsRequest, QuarantineKind, QuarantineState, QuarantinedRow, RowOutcome,
};

use super::Context;
use super::deciding::Deciding;
use super::paging::Paging;
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::{called, json};

const COLUMNS: &[Column] = &[
    ("ID", "quarantine_id"),
    ("STATE", "state"),
    ("SKU", "sku"),
    ("LOCATION", "location"),
    ("OLD", "old_quantity"),
    ("NEW", "new_quantity"),
    ("WRITTEN", "raw_quantity"),
    ("RULES", "rules"),
    ("EXPOSURE", "exposure"),
    ("CONNECTION", "connection"),
    ("STOPPED", "create_time"),
];
pub(super) const FIELDS: &[Column] = &[
    ("id", "quarantine_id"),
    ("state", "state"),
    ("what", "kind"),
    ("sku", "sku"),
    ("vendor sku", "vendor_sku"),
    ("location", "location"),
    ("old", "old_quantity"),
    ("new", "new_quantity"),
    ("written", "raw_quantity"),
    ("rules", "rules"),
    ("why it was stopped", "explanation"),
    ("could be oversold", "exposure"),
    ("adjustments", "adjustments"),
    ("typed by", "typed_by"),
    ("connection", "connection"),
    ("run", "run_id"),
    ("line", "line"),
    ("counted", "as_of_time"),
    ("stopped", "create_time"),
    ("decided", "decide_time"),
    ("  by", "decided_by"),
    ("  because", "decision_reason"),
    ("  outcome", "outcome"),
];

/// What can be done with what a guard stopped.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List numbers that a guard stopped, newest first. While one waits, the lower of the old and the new is offered.
    List {
        /// Only those in this state.
        #[arg(long, value_enum, default_value_t = State::Pending)]
        state: State,
        /// Only this connection's; "house" is what your own people typed.
        #[arg(long, default_value = "", hide_default_value = true)]
        connection: String,
        /// Only this run's.
        #[arg(long, default_value = "", hide_default_value = true)]
        run: String,
        /// Only of this SKU.
        #[arg(long, default_value = "", hide_default_value = true)]
        sku: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a number that a guard stopped: what was known, what came, which rule stopped it and what is at stake.
    #[command(visible_alias = "show")]
    Get {
        /// Its id.
        id: String,
    },
    /// Believe a number: it is applied, unless a newer one was meanwhile.
    Approve {
        /// Its id.
        id: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The units to apply instead, for a number that cannot be read, or that you know better.
        #[arg(long, value_name = "UNITS")]
        quantity: Option<i64>,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
    /// Do not believe a number: what was known stays.
    Reject {
        /// Its id.
        id: String,
        #[command(flatten)]
        deciding: Deciding,
        /// The request's key, to repeat a command whose outcome is unknown.
        #[arg(long, value_name = "UUID")]
        key: Option<RequestKey>,
    },
}

/// Where a quarantined row stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// It waits for a person.
    Pending,
    /// A person believed it.
    Approved,
    /// A person did not.
    Rejected,
    /// A newer number took its place.
    Superseded,
}

impl From<State> for QuarantineState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Approved => Self::Approved,
            State::Rejected => Self::Rejected,
            State::Superseded => Self::Superseded,
        }
    }
}

pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let quarantine = &context.services.quarantine()?;
    let row = match command {
        Command::List { state, connection, run, sku, paging } => {
            let state = QuarantineState::from(state).into();
            let items = paging
                .collect(async |page_size, page_token| {
                    let (connection, run_id, sku) = (connection.clone(), run.clone(), sku.clone());
                    let request = ListQuarantinedRowsRequest { page_size, page_token, state, connection, run_id, sku };
                    let page = quarantine.list_quarantined_rows(request).await?;
                    Ok((page.rows.iter().map(json::quarantined).collect(), page.next_page_token))
                })
                .await?;
            return output::list(context.format, COLUMNS, &items);
        }
        Command::Get { id } => {
            let row = quarantine.get_quarantined_row(&id).await.map_err(Failure::reading)?.row.unwrap_or_default();
            if row.state() == QuarantineState::Pending {
                how_to_decide(&id);
            }
            row
        }
        Command::Approve { id, deciding, quantity, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let decision = deciding.decision();
            let response = quarantine.approve_quarantined_row(key, &id, &decision, quantity).await;
            let row = response.map_err(Failure::changing(key))?.row.unwrap_or_default();
            if row.outcome() == RowOutcome::Stale {
                output::note("A newer number had been applied meanwhile: this one changes nothing.");
            }
            row
        }
        Command::Reject { id, deciding, key } => {
            let key = key.unwrap_or_else(RequestKey::new);
            let response = quarantine.reject_quarantined_row(key, &id, &deciding.decision()).await;
            response.map_err(Failure::changing(key))?.row.unwrap_or_default()
        }
    };
    output::one(context.format, FIELDS, &json::quarantined(&row))
}

/// What was stopped, in a line.
pub(super) fn sentence(row: &QuarantinedRow) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let what = if row.kind() == QuarantineKind::Adjustment {
        let parts: Vec<_> =
            row.adjustments.iter().map(|part| format!("{:+} {} at {}", part.delta, part.sku, part.location)).collect();
        parts.join(", ")
    } else {
        let code = if row.sku.is_empty() { &row.vendor_sku } else { &row.sku };
        format!("{code} at {}: {} written, {} known", row.location, row.raw_quantity, number(row.old_quantity))
    };
    format!("{}  {what}  [{}] {}", row.quarantine_id, row.rules.join(" "), row.explanation)
}

/// Says which commands decide it.
pub(super) fn how_to_decide(id: &str) {
    let ctl = called::program();
    output::note(&format!(
        "Next: look at it:   {ctl} quarantine get {id}\n      believe it:   {ctl} quarantine approve {id} --reason 'why'\n      \
         or do not:    {ctl} quarantine reject {id} --reason 'why'"
    ));
}

#[cfg(test)]
mod tests {
    use holdfast_client::api::vendorsync::v1::HouseAdjustment;

    use super::*;

    #[test]
    fn a_stopped_number_reads_as_a_sentence() {
        let row = QuarantinedRow {
            quarantine_id: "Q1".to_owned(),
            sku: "CHAIR".to_owned(),
            location: "HALL".to_owned(),
            raw_quantity: "999".to_owned(),
            old_quantity: Some(150),
            rules: vec!["R2".to_owned(), "R4".to_owned()],
            explanation: "more than five times as many".to_owned(),
            ..QuarantinedRow::default()
        };
        assert_eq!(sentence(&row), "Q1  CHAIR at HALL: 999 written, 150 known  [R2 R4] more than five times as many");
        let adjustment = |delta| HouseAdjustment {
            sku: "CHAIR".to_owned(),
            location: "HALL".to_owned(),
            delta,
            ..HouseAdjustment::default()
        };
        let typed = QuarantinedRow {
            kind: QuarantineKind::Adjustment.into(),
            adjustments: vec![adjustment(900), adjustment(-1)],
            ..row
        };
        assert!(sentence(&typed).contains("+900 CHAIR at HALL, -1 CHAIR at HALL"), "{}", sentence(&typed));
    }
}

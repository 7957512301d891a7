//! `holdctl sku watch`: everything that the catalog has, and then every change.

use std::time::Duration;

use clap::Args;
use holdfast_client::SkuEvent;
use serde_json::json;

use crate::cli::Format;
use crate::commands::Context;
use crate::commands::watching::{cut_off, go_on};
use crate::failure::Failure;
use crate::signals::Signals;
use crate::{json, output};

/// From where to watch, and until when.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Go on where an earlier watch stopped: the token that it printed.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    resume: String,
    /// End when everything that is there has been told, without waiting for changes.
    #[arg(long)]
    snapshot: bool,
}

pub(super) async fn run(context: &Context<'_>, args: Watch) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    // A person watches: they see soon enough that nothing comes any more.
    let mut watch = context.services.catalog()?.watch_skus(&args.resume).patience(Duration::from_secs(60));
    loop {
        let event = match signals.unless_asked_to_end(watch.next()).await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(cut_off(error, watch.resume_token())),
            None => {
                go_on(watch.resume_token());
                return Ok(());
            }
        };
        match (event, context.format) {
            (SkuEvent::State(state), Format::Json) => {
                output::line(&json!({"state": json::sku_state(&state), "resume_token": watch.resume_token()}))?;
            }
            (SkuEvent::State(state), Format::Table) => output::words(&words(&json::sku_state(&state)))?,
            (SkuEvent::SnapshotEnd, format) => {
                if format == Format::Json {
                    output::line(&json!({"snapshot_end": true, "resume_token": watch.resume_token()}))?;
                } else {
                    output::note("That is everything; changes follow.");
                }
                if args.snapshot {
                    return Ok(());
                }
            }
            (SkuEvent::Checkpoint, _) => {}
        }
    }
}

/// A SKU in a line: its code, what it is, how it may be sold, how many offers it has.
fn words(sku: &serde_json::Value) -> String {
    let text = |field: &str| sku[field].as_str().unwrap_or_default().replace(char::is_control, " ");
    let archived = if sku["archive_time"].is_null() { "" } else { "  ARCHIVED" };
    let policy = sku["policy"].as_object().map_or_else(String::new, |policy| {
        let set = policy.iter().filter(|(_, value)| !value.is_null() && **value != json!(0) && **value != json!([]));
        set.map(|(name, value)| format!("  {name}={}", value.to_string().replace('"', ""))).collect()
    });
    let offers = sku["offers"].as_array().map_or(0, Vec::len);
    format!("{}  v{}  {}  offers={offers}{policy}{archived}", text("code"), sku["version"], text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_is_one_line_with_what_is_set_of_its_policy() {
        let sku = json!({
            "code": "CHAIR", "name": "A\nchair", "version": 3, "offers": [{}, {}], "archive_time": null,
            "policy": {"safety_stock": 2, "max_per_owner": 0, "locations": ["HALL"], "default_hold_duration": null},
        });
        assert_eq!(words(&sku), "CHAIR  v3  A chair  offers=2  locations=[HALL]  safety_stock=2");
        let archived = json!({"code": "X", "name": "", "version": 1, "archive_time": "2026-01-01T00:00:00Z"});
        assert!(words(&archived).ends_with("offers=0  ARCHIVED"));
    }
}

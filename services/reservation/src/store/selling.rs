//! The forms of how SKUs may be sold and are: policies, pauses, what channels have.

use std::collections::BTreeMap;

use holdfast_stock::{
    ChannelUse, FeedTerms, HoldMicros, Location, Name, Note, Pause, Policy, Promise, Selling, Sku, UnixMicros,
};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::rows::{self, damaged};

/// A selling policy, as `policy_json` builds it and `write_plan` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PolicyRow {
    sku: String,
    version: i64,
    safety: i64,
    backorder: i64,
    max_per_reservation: Option<i64>,
    max_per_owner: Option<i64>,
    default_hold: Option<i64>,
    locations: Vec<String>,
    archived: bool,
    max_per_minute: Option<i64>,
    channel_caps: BTreeMap<String, i64>,
    promise_at: Option<i64>,
    promise_after: Option<i64>,
}

impl PolicyRow {
    pub(super) fn from_policy((sku, policy): (&Sku, &Policy)) -> Self {
        let (promise_at, promise_after) = match policy.promise {
            Some(Promise::At(at)) => (Some(at.0), None),
            Some(Promise::After(micros)) => (None, Some(micros)),
            None => (None, None),
        };
        Self {
            sku: sku.to_string(),
            version: policy.version,
            safety: policy.safety,
            backorder: policy.backorder,
            max_per_reservation: policy.max_per_reservation,
            max_per_owner: policy.max_per_owner,
            default_hold: policy.default_hold.map(HoldMicros::get),
            locations: policy.locations.iter().map(Location::to_string).collect(),
            archived: policy.archived,
            max_per_minute: policy.max_per_minute,
            channel_caps: policy.channel_caps.iter().map(|(channel, units)| (channel.to_string(), *units)).collect(),
            promise_at,
            promise_after,
        }
    }

    pub(super) fn into_policy(self) -> Result<(Sku, Policy), StoreError> {
        let hold = |micros| HoldMicros::new(micros).ok_or_else(|| damaged("a default hold"));
        let cap = |(channel, units): (String, i64)| Ok((rows::name(&channel)?, units));
        let promise = match (self.promise_at, self.promise_after) {
            (Some(at), _) => Some(Promise::At(UnixMicros(at))),
            (None, after) => after.map(Promise::After),
        };
        let policy = Policy {
            version: self.version,
            safety: self.safety,
            backorder: self.backorder,
            max_per_reservation: self.max_per_reservation,
            max_per_owner: self.max_per_owner,
            default_hold: self.default_hold.map(hold).transpose()?,
            locations: self.locations.iter().map(|code| rows::location(code)).collect::<Result<_, _>>()?,
            archived: self.archived,
            max_per_minute: self.max_per_minute,
            channel_caps: self.channel_caps.into_iter().map(cap).collect::<Result<_, StoreError>>()?,
            promise,
        };
        Ok((rows::sku(&self.sku)?, policy))
    }
}

/// How a SKU sells, as `lock_batch` builds it and `write_plan` reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SellingRow {
    pub(super) sku: String,
    pub(super) paused_at: Option<i64>,
    paused_by: Option<String>,
    note: Option<String>,
    /// `[second, units]`, ascending.
    recent: Vec<(i64, i64)>,
}

impl SellingRow {
    pub(super) fn from_selling((sku, selling): (&Sku, &Selling)) -> Self {
        let pause = selling.pause.as_ref();
        Self {
            sku: sku.to_string(),
            paused_at: pause.map(|pause| pause.at.0),
            paused_by: pause.map(|pause| pause.actor.to_string()),
            note: pause.map(|pause| pause.note.as_str().to_owned()),
            recent: selling.recent.clone(),
        }
    }

    pub(super) fn into_selling(self) -> Result<(Sku, Selling), StoreError> {
        let pause = match (self.paused_at, self.paused_by) {
            (Some(at), Some(actor)) => Some(Pause {
                at: UnixMicros(at),
                actor: rows::name(&actor)?,
                note: Note::new(self.note.as_deref().unwrap_or_default()).map_err(|_| damaged("a note"))?,
            }),
            _ => None,
        };
        Ok((rows::sku(&self.sku)?, Selling { pause, recent: self.recent }))
    }
}

/// `[sku, channel, units]`.
pub(super) type ChannelRow = (String, String, i64);

pub(super) fn channel((sku, channel, units): ChannelRow) -> Result<((Sku, Name), ChannelUse), StoreError> {
    Ok(((rows::sku(&sku)?, rows::name(&channel)?), ChannelUse { units }))
}

/// `[connection, clock margin, reflection lag]`, in microseconds.
pub(super) type TermsRow = (String, i64, Option<i64>);

pub(super) fn terms((connection, margin, lag): TermsRow) -> Result<(Name, FeedTerms), StoreError> {
    let terms = FeedTerms { clock_margin_micros: margin, reflection_lag_micros: lag };
    Ok((rows::name(&connection)?, terms))
}

//! Which SKUs a file's codes mean: by the offers that catalog told, and where those do not say, by asking catalog.
//!
//! A code that is not known here may belong to an offer that was made a moment ago, so it is asked for; a catalog that is down matters only to files with such
//! codes. So it is with a code of which two SKUs are told, because their versions say nothing about each other and one of them is about to be told anew.

use std::collections::HashMap;

use holdfast_feeds::plan::{Fate, Offer, PlannedRow};

use crate::model::{KnownOffer, NewConnection};
use crate::peers::{PeerError, Peers};
use crate::store::{Store, StoreError};

/// What a file's codes mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// The SKUs of those that have one, by code.
    pub by_code: HashMap<String, Offer>,
    /// Codes of SKUs that are not sold any more, with the SKU: they map to nothing.
    pub archived: HashMap<String, String>,
}

impl Offers {
    /// Looks codes up, each once.
    ///
    /// # Errors
    /// [`StoreError::Postgres`]; [`PeerError::Later`] when catalog has to be asked and does not answer. Both as the caller's.
    pub async fn of<E>(store: &Store, peers: &Peers, connection: &NewConnection, codes: &[&str]) -> Result<Self, E>
    where
        E: From<StoreError> + From<PeerError>,
    {
        let (mut offers, unclear) = Self::settle(store.known_offers(connection, codes).await?, codes);
        if !unclear.is_empty() {
            offers.by_code.extend(peers.offers(connection, &unclear).await?);
        }
        Ok(offers)
    }

    /// What the known offers say of the codes, and the codes of which they do not say it.
    fn settle<'c>(known: Vec<KnownOffer>, codes: &[&'c str]) -> (Self, Vec<&'c str>) {
        let mut sold: HashMap<String, Vec<Offer>> = HashMap::with_capacity(known.len());
        let mut archived = HashMap::new();
        for KnownOffer { vendor_sku, sku, pack_size, is_archived } in known {
            if is_archived {
                archived.insert(vendor_sku, sku);
            } else {
                sold.entry(vendor_sku).or_default().push(Offer { sku, pack_size });
            }
        }
        // An offer that moved away from an archived SKU is the other one's.
        archived.retain(|code, _| !sold.contains_key(code));
        let unclear = codes.iter().copied().filter(|code| match sold.get(*code) {
            Some(claims) => claims.len() > 1,
            None => !archived.contains_key(*code),
        });
        let unclear = unclear.collect();
        let clear = sold.into_iter().filter_map(|(code, claims)| {
            let [offer] = <[Offer; 1]>::try_from(claims).ok()?;
            Some((code, offer))
        });
        (Self { by_code: clear.collect(), archived }, unclear)
    }

    /// Says of rows that map to nothing because their SKU is archived that this is why.
    pub fn explain(&self, rows: &mut [PlannedRow]) {
        for row in rows.iter_mut().filter(|row| row.fate == Fate::Unmapped) {
            if let Some(sku) = self.archived.get(&row.vendor_sku) {
                row.note = format!("SKU {sku} is archived");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(code: &str, sku: &str, is_archived: bool) -> KnownOffer {
        KnownOffer { vendor_sku: code.to_owned(), sku: sku.to_owned(), pack_size: 1, is_archived }
    }

    #[test]
    fn only_what_is_not_known_for_certain_is_asked_for() {
        let told = vec![
            known("a", "A", false),
            known("moved", "A", false),
            known("moved", "B", false),
            known("left", "OLD", true),
            known("left", "NEW", false),
            known("old", "OLD", true),
        ];
        let (offers, unclear) = Offers::settle(told, &["a", "moved", "left", "old", "new"]);
        let mut clear: Vec<(&str, &str)> =
            offers.by_code.iter().map(|(code, offer)| (code.as_str(), offer.sku.as_str())).collect();
        clear.sort_unstable();
        assert_eq!(clear, [("a", "A"), ("left", "NEW")]);
        assert_eq!(offers.archived, HashMap::from([("old".to_owned(), "OLD".to_owned())]));
        assert_eq!(unclear, ["moved", "new"]);
    }
}

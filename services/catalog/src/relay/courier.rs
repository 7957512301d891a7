//! The way to a destination: what it is told, and what its answers mean.

use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::reservation::v1::stock_service_client::StockServiceClient;
use holdfast_api::reservation::v1::{ApplyPoliciesRequest, ChannelCap, SkuPolicy};
use holdfast_api::vendorsync::v1::vendor_sync_service_client::VendorSyncServiceClient;
use holdfast_api::vendorsync::v1::{ApplyOffersRequest, SkuOffer, SkuOffers};
use holdfast_kit::reason_of;
use prost::Message as _;
use secrecy::ExposeSecret as _;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::Destination;
use crate::config::PeerConfig;
use crate::convert;
use crate::model::SkuState;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a ping asks whether the other side is still there, and how long it may stay unanswered.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Reaches a destination. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Courier {
    client: Client,
    token: Option<MetadataValue<Ascii>>,
}

#[derive(Debug, Clone)]
enum Client {
    Reservation(StockServiceClient<Channel>),
    VendorSync(VendorSyncServiceClient<Channel>),
}

/// A destination that did not take what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It does not take these SKUs as they are, and took none of them.
    #[error("refused: {0}")]
    Refused(String),
    /// It did not answer, is full, or does not let us in. It may have taken them; telling it again is harmless.
    #[error("{0}")]
    Later(String),
}

impl Courier {
    /// To a destination, as configured. Connects when first used, and again by itself after a failure.
    ///
    /// # Errors
    /// When the endpoint or the token cannot be used. Nothing was sent.
    pub fn new(destination: Destination, config: &PeerConfig) -> anyhow::Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| anyhow::anyhow!("[{}] endpoint: {error}", destination.name());
        let endpoint = Endpoint::from_shared(config.endpoint.clone()).map_err(|error| wrong(&error))?;
        let channel = endpoint
            .user_agent(concat!("holdfast-catalog/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| wrong(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let token = config.token.expose_secret();
        let token = if token.is_empty() {
            None
        } else {
            let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| {
                anyhow::anyhow!("[{}] token: has characters that a header cannot carry", destination.name())
            })?;
            value.set_sensitive(true);
            Some(value)
        };
        let client = match destination {
            Destination::Reservation => Client::Reservation(StockServiceClient::new(channel)),
            Destination::VendorSync => Client::VendorSync(VendorSyncServiceClient::new(channel)),
        };
        Ok(Self { client, token })
    }

    /// Whom it reaches.
    #[must_use]
    pub fn destination(&self) -> Destination {
        match self.client {
            Client::Reservation(_) => Destination::Reservation,
            Client::VendorSync(_) => Destination::VendorSync,
        }
    }

    /// About how many bytes a SKU has in a message, never less.
    #[must_use]
    pub fn bytes(&self, state: &SkuState) -> usize {
        let bytes = match self.client {
            Client::Reservation(_) => policy(state).encoded_len(),
            Client::VendorSync(_) => offers(state).encoded_len(),
        };
        // A tag and the length.
        bytes + 6
    }

    /// Tells a batch of SKUs, each once, as they stand.
    ///
    /// # Errors
    /// [`SendError::Refused`]: none was taken. [`SendError::Later`]: all or none were.
    pub async fn send(&self, states: &[SkuState], timeout: Duration) -> Result<(), SendError> {
        let sent = async {
            match self.client.clone() {
                Client::Reservation(mut client) => {
                    let message = ApplyPoliciesRequest { policies: states.iter().map(policy).collect() };
                    client.apply_policies(self.request(message, timeout)).await.map(drop)
                }
                Client::VendorSync(mut client) => {
                    let message = ApplyOffersRequest { skus: states.iter().map(offers).collect() };
                    client.apply_offers(self.request(message, timeout)).await.map(drop)
                }
            }
        };
        match tokio::time::timeout(timeout, sent).await {
            Ok(answer) => answer.map_err(|status| meaning(&status)),
            Err(_) => Err(SendError::Later(format!("no answer within {} ms", timeout.as_millis()))),
        }
    }

    fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }
}

/// What an error means for those that were sent. Only what the destination says of the message itself is a refusal.
fn meaning(status: &Status) -> SendError {
    match (reason_of(status), status.code()) {
        (Some(ErrorReason::InvalidField | ErrorReason::MessageTooLarge), _) | (None, Code::InvalidArgument) => {
            SendError::Refused(status.message().to_owned())
        }
        (_, code) => SendError::Later(format!("{code:?}: {}", status.message())),
    }
}

fn policy(SkuState { sku, .. }: &SkuState) -> SkuPolicy {
    let policy = &sku.content.policy;
    let cap = |cap: &crate::model::ChannelCap| ChannelCap { channel: cap.channel.clone(), quantity: cap.quantity };
    SkuPolicy {
        sku: sku.content.code.clone(),
        version: sku.version,
        safety_stock: policy.safety_stock,
        backorder_limit: policy.backorder_limit,
        max_per_reservation: policy.max_per_reservation,
        max_per_owner: policy.max_per_owner,
        default_hold_duration: convert::hold_duration(policy),
        locations: policy.locations.clone(),
        archived: sku.archive_time.is_some(),
        max_per_minute: policy.max_per_minute,
        channel_caps: policy.channel_caps.iter().map(cap).collect(),
        promise_time: convert::promise_time(policy),
        promise_lead_duration: convert::promise_lead(policy),
    }
}

fn offers(SkuState { sku, offers }: &SkuState) -> SkuOffers {
    let offer = |offer: &crate::model::Offer| SkuOffer {
        vendor: offer.key.vendor.clone(),
        location: offer.key.location.clone(),
        vendor_sku: offer.key.vendor_sku.clone(),
        pack_size: i64::from(offer.content.pack_size),
    };
    SkuOffers {
        sku: sku.content.code.clone(),
        version: sku.version,
        offers: offers.iter().map(offer).collect(),
        archived: sku.archive_time.is_some(),
    }
}

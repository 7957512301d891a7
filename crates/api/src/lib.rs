//! The wire: messages, clients and servers generated from `proto/`, and the descriptor set for reflection.
//!
//! Architecture invariant: no rule lives here, and the crate depends on prost and tonic only.

#![expect(clippy::large_enum_variant, reason = "generated: a message of a stream is as large as its largest part")]

/// The descriptor set of all of Holdfast's protobuf files with their imports and comments, encoded.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast.bin"));

/// The full path of every method of every service, as it stands in a request: `/holdfast.reservation.v1.ReservationService/Reserve`. Tables that say
/// something of each method are checked against it when they are compiled.
pub const METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Reasons that every Holdfast error carries.
pub mod error {
    pub mod v1 {
        tonic::include_proto!("holdfast.error.v1");
    }
}

/// Stock and reservations.
pub mod reservation {
    pub mod v1 {
        tonic::include_proto!("holdfast.reservation.v1");
    }
}

/// SKUs, vendors, locations and offers.
pub mod catalog {
    pub mod v1 {
        tonic::include_proto!("holdfast.catalog.v1");
    }
}

/// Vendors' feeds.
pub mod vendorsync {
    pub mod v1 {
        tonic::include_proto!("holdfast.vendorsync.v1");
    }
}

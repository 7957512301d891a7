//! The wire: messages, clients and servers generated from `proto/`, and the descriptor set for reflection.
//!
//! Architecture invariant: no rule lives here, and the crate depends on prost and tonic only.

/// The descriptor set of all of Holdfast's protobuf files with their imports and comments, encoded.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast.bin"));

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

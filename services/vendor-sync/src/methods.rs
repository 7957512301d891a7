//! Who may call what. A method without a row does not compile.

use holdfast_api::vendorsync::v1::vendor_sync_service_server::SERVICE_NAME;
use holdfast_kit::Priority::{Begin, Read};
use holdfast_kit::Role::{Merchandiser, Monitor, Operator};
use holdfast_kit::{Method, MethodTable, Role};

/// Who reads: people, and what looks after Holdfast.
const READERS: &[Role] = &[Merchandiser, Operator, Monitor];
/// Who writes: people.
const WRITERS: &[Role] = &[Merchandiser, Operator];

/// The table.
pub static METHODS: MethodTable = MethodTable::new(
    &[SERVICE_NAME],
    &[
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/CreateConnection", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/GetConnection", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListConnections", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/UploadFeed", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/GetRun", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListRuns", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListRunRows", Read, READERS),
    ],
);

//! Who may call what. A method without a row does not compile.

use holdfast_api::vendorsync::v1::{house_service_server, quarantine_service_server, vendor_sync_service_server};
use holdfast_kit::Priority::{Begin, Read};
use holdfast_kit::Role::{Catalog, Merchandiser, Monitor, Operator};
use holdfast_kit::{Method, MethodTable, Role};

/// Who reads: people, and what looks after Holdfast.
const READERS: &[Role] = &[Merchandiser, Operator, Monitor];
/// Who writes: people.
const WRITERS: &[Role] = &[Merchandiser, Operator];
/// Who tells what catalog knows.
const CATALOG: &[Role] = &[Catalog];

/// The table.
pub static METHODS: MethodTable = MethodTable::new(
    &[
        vendor_sync_service_server::SERVICE_NAME,
        quarantine_service_server::SERVICE_NAME,
        house_service_server::SERVICE_NAME,
    ],
    &[
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/CreateConnection", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/GetConnection", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/UpdateConnection", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/PauseConnection", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ResumeConnection", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/FetchNow", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListConnections", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/UploadFeed", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/GetRun", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListRuns", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ListRunRows", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ApproveRun", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/RejectRun", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.VendorSyncService/ApplyOffers", Begin, CATALOG),
        Method::new("/holdfast.vendorsync.v1.QuarantineService/GetQuarantinedRow", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.QuarantineService/ListQuarantinedRows", Read, READERS),
        Method::new("/holdfast.vendorsync.v1.QuarantineService/ApproveQuarantinedRow", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.QuarantineService/RejectQuarantinedRow", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.HouseService/SubmitCounts", Begin, WRITERS),
        Method::new("/holdfast.vendorsync.v1.HouseService/SubmitAdjustments", Begin, WRITERS),
    ],
);

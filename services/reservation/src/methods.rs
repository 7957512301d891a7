//! Who may call what. A method of the protos without a row fails the build.

use holdfast_api::reservation::v1::{audit_service_server, reservation_service_server, stock_service_server};
use holdfast_kit::{Method, MethodTable, Priority, Role};

const BUYING: &[Role] = &[Role::Checkout, Role::Operator];
const LOOKING: &[Role] =
    &[Role::Checkout, Role::Merchandiser, Role::Operator, Role::VendorSync, Role::Catalog, Role::Monitor];
const INSPECTING: &[Role] = &[Role::Merchandiser, Role::Operator, Role::Monitor];
/// Counts and adjustments come through vendor-sync's guards only, be they a vendor's or typed by the shop.
const COUNTING: &[Role] = &[Role::VendorSync];
/// Policies come from catalog only.
const GOVERNING: &[Role] = &[Role::Catalog];
/// What changes the record to make it agree with itself.
const REPAIRING: &[Role] = &[Role::Operator];
/// Guards compare with what is there.
const GUARDING: &[Role] = &[Role::VendorSync, Role::Merchandiser, Role::Operator, Role::Monitor];

/// The table.
pub static METHODS: MethodTable = MethodTable::new(
    &[audit_service_server::SERVICE_NAME, reservation_service_server::SERVICE_NAME, stock_service_server::SERVICE_NAME],
    &[
        Method::new("/holdfast.reservation.v1.ReservationService/Reserve", Priority::Begin, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Confirm", Priority::Finish, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Release", Priority::Undo, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Extend", Priority::Undo, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/GetReservation", Priority::Read, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/ListReservations", Priority::Read, BUYING),
        Method::new("/holdfast.reservation.v1.StockService/BatchGetAvailability", Priority::Read, LOOKING),
        Method::new("/holdfast.reservation.v1.StockService/GetStock", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/ListStock", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/ApplyCounts", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/AdjustStock", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/BatchGetStock", Priority::Read, GUARDING),
        Method::new("/holdfast.reservation.v1.StockService/CompleteRun", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/ListFeeds", Priority::Read, GUARDING),
        Method::new("/holdfast.reservation.v1.StockService/ApplyPolicies", Priority::Begin, GOVERNING),
        Method::new("/holdfast.reservation.v1.StockService/ListLedgerEntries", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.AuditService/ListDiscrepancies", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.AuditService/RunAudit", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.AuditService/Repair", Priority::Begin, REPAIRING),
    ],
);

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
/// Who acts on what happens to reservations: checkouts, people, and vendor-sync, which sends orders to vendors.
const FOLLOWING: &[Role] = &[Role::Checkout, Role::Operator, Role::VendorSync];
/// Who decides what becomes of reservations that lack units.
const MENDING: &[Role] = &[Role::Checkout, Role::Merchandiser, Role::Operator, Role::Monitor];
/// Guards compare with what is there.
const GUARDING: &[Role] = &[Role::VendorSync, Role::Merchandiser, Role::Operator, Role::Monitor];

/// Whoever ships, or talks to whoever ships.
const SHIPPING: &[Role] = &[Role::Checkout, Role::Operator, Role::VendorSync];
/// No move makes units, so no guard needs to see it.
const MOVING: &[Role] = &[Role::Merchandiser, Role::Operator];
/// Stopping a sale that goes wrong must not wait for anybody else.
const GOVERNING_SALES: &[Role] = &[Role::Merchandiser, Role::Operator];

/// The table.
pub static METHODS: MethodTable = MethodTable::new(
    &[audit_service_server::SERVICE_NAME, reservation_service_server::SERVICE_NAME, stock_service_server::SERVICE_NAME],
    &[
        Method::new("/holdfast.reservation.v1.ReservationService/Reserve", Priority::Begin, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/BatchReserve", Priority::Begin, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Replace", Priority::Begin, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Confirm", Priority::Finish, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Fulfil", Priority::Finish, SHIPPING),
        Method::new("/holdfast.reservation.v1.ReservationService/Cancel", Priority::Finish, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Return", Priority::Undo, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/RecordEvidence", Priority::Undo, SHIPPING),
        Method::new("/holdfast.reservation.v1.ReservationService/Release", Priority::Undo, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/Extend", Priority::Undo, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/GetReservation", Priority::Read, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/ListReservations", Priority::Read, BUYING),
        Method::new("/holdfast.reservation.v1.ReservationService/WatchReservations", Priority::Read, FOLLOWING),
        Method::new("/holdfast.reservation.v1.ReservationService/ListAtRisk", Priority::Read, MENDING),
        Method::new("/holdfast.reservation.v1.StockService/BatchGetAvailability", Priority::Read, LOOKING),
        Method::new("/holdfast.reservation.v1.StockService/GetStock", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/ListStock", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/ApplyCounts", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/AdjustStock", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/MoveStock", Priority::Begin, MOVING),
        Method::new("/holdfast.reservation.v1.StockService/PauseSelling", Priority::Finish, GOVERNING_SALES),
        Method::new("/holdfast.reservation.v1.StockService/ResumeSelling", Priority::Finish, GOVERNING_SALES),
        Method::new("/holdfast.reservation.v1.StockService/ListPausedSkus", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/BatchGetStock", Priority::Read, GUARDING),
        Method::new("/holdfast.reservation.v1.StockService/CompleteRun", Priority::Begin, COUNTING),
        Method::new("/holdfast.reservation.v1.StockService/ListFeeds", Priority::Read, GUARDING),
        Method::new("/holdfast.reservation.v1.StockService/ApplyPolicies", Priority::Begin, GOVERNING),
        Method::new("/holdfast.reservation.v1.StockService/ListLedgerEntries", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/GetStockAsOf", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.StockService/WatchAvailability", Priority::Read, LOOKING),
        Method::new("/holdfast.reservation.v1.AuditService/ListDiscrepancies", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.AuditService/RunAudit", Priority::Read, INSPECTING),
        Method::new("/holdfast.reservation.v1.AuditService/Repair", Priority::Begin, REPAIRING),
    ],
);

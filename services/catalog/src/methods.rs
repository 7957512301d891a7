//! Who may call what. A method without a row does not compile.

use holdfast_api::catalog::v1::catalog_service_server::SERVICE_NAME;
use holdfast_kit::Priority::{Begin, Read};
use holdfast_kit::Role::{Checkout, Merchandiser, Monitor, Operator, Reservation, VendorSync};
use holdfast_kit::{Method, MethodTable, Role};

/// Who reads: everybody who sells, supplies, runs or looks.
const READERS: &[Role] = &[Checkout, Merchandiser, Operator, VendorSync, Reservation, Monitor];
/// Who writes: people.
const WRITERS: &[Role] = &[Merchandiser, Operator];

/// The table.
pub static METHODS: MethodTable = MethodTable::new(
    &[SERVICE_NAME],
    &[
        Method::new("/holdfast.catalog.v1.CatalogService/CreateSku", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/GetSku", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/BatchGetSkus", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/UpdateSku", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ArchiveSku", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/RestoreSku", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ListSkus", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/SearchSkus", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/WatchSkus", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ImportSkus", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/CreateVendor", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/GetVendor", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/UpdateVendor", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ListVendors", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/CreateLocation", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/GetLocation", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/UpdateLocation", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ListLocations", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/BatchCreateOffers", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/BatchDeleteOffers", Begin, WRITERS),
        Method::new("/holdfast.catalog.v1.CatalogService/BatchGetOffers", Read, READERS),
        Method::new("/holdfast.catalog.v1.CatalogService/ListOffers", Read, READERS),
    ],
);

//! Vendors and locations.

use holdfast_api::catalog::v1 as wire;
use holdfast_api::error::v1::ErrorReason as R;
use tonic::Response;

use crate::world::{World, id, reason, subjects, violations};

fn vendor(code: &str, name: &str) -> wire::CreateVendorRequest {
    let vendor = wire::Vendor { code: code.into(), name: name.into(), ..Default::default() };
    wire::CreateVendorRequest { request_id: id(), vendor: Some(vendor) }
}

fn location(code: &str, vendor: &str) -> wire::CreateLocationRequest {
    let location =
        wire::Location { code: code.into(), name: format!("{code} GmbH"), vendor: vendor.into(), ..Default::default() };
    wire::CreateLocationRequest { request_id: id(), location: Some(location) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_reads_back_and_is_created_once() {
    let world = World::new().await;
    let mut client = world.client.clone();
    let request = vendor("acme.DE_1-x", "Acme");
    let first = client.create_vendor(request.clone()).await.unwrap().into_inner();
    assert_eq!(client.create_vendor(request.clone()).await.unwrap().into_inner(), first);
    let read = client.get_vendor(wire::GetVendorRequest { code: "acme.DE_1-x".into() }).await.unwrap().into_inner();
    assert_eq!(read.vendor, first.vendor);
    assert_eq!(reason(client.create_vendor(vendor("acme.DE_1-x", "Acme")).await), R::AlreadyExists);
    let other = wire::CreateVendorRequest { request_id: request.request_id, ..vendor("acme.DE_1-x", "Acme 2") };
    assert_eq!(reason(client.create_vendor(other).await), R::KeyReused);
    assert_eq!(reason(client.get_vendor(wire::GetVendorRequest { code: "nix".into() }).await), R::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_vendors_and_locations_have_few_characters() {
    let world = World::new().await;
    let mut client = world.client.clone();
    for bad in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
        let wrong = wire::CreateVendorRequest { request_id: String::new(), ..vendor(bad, "a\u{1}") };
        assert_eq!(
            violations(client.create_vendor(wrong).await).0,
            ["vendor.code", "vendor.name", "request_id"],
            "{bad:?}"
        );
        assert_eq!(
            violations(client.create_location(location(bad, "a b")).await).0,
            ["location.code", "location.vendor"],
            "{bad:?}"
        );
        assert_eq!(violations(client.get_vendor(wire::GetVendorRequest { code: bad.into() }).await).0, ["code"]);
        assert_eq!(violations(client.get_location(wire::GetLocationRequest { code: bad.into() }).await).0, ["code"]);
    }
    let nothing = wire::CreateVendorRequest { request_id: id(), vendor: None };
    assert_eq!(violations(client.create_vendor(nothing).await).0, ["vendor"]);
    let nothing = wire::CreateLocationRequest { request_id: id(), location: None };
    assert_eq!(violations(client.create_location(nothing).await).0, ["location"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_the_shops_own_or_a_known_vendors() {
    let world = World::new().await;
    let mut client = world.client.clone();
    let own = client.create_location(location("berlin", "")).await.unwrap().into_inner().location.unwrap();
    assert_eq!(own.vendor, "");

    let request = location("acme-1", "acme");
    let refused = client.create_location(request.clone()).await.unwrap_err();
    assert_eq!(subjects(&refused), ["vendor/acme"]);
    assert_eq!(reason::<()>(Err(refused)), R::UnknownReference);

    world.vendor("acme").await;
    let created = client.create_location(request.clone()).await.unwrap().into_inner();
    assert_eq!(client.create_location(request).await.unwrap().into_inner(), created, "the refusal left the key free");
    let read = client.get_location(wire::GetLocationRequest { code: "acme-1".into() }).await.unwrap().into_inner();
    assert_eq!(
        (read.location.as_ref(), read.location.as_ref().unwrap().vendor.as_str()),
        (created.location.as_ref(), "acme")
    );
    assert_eq!(reason(client.create_location(location("acme-1", "acme")).await), R::AlreadyExists);
    assert_eq!(reason(client.get_location(wire::GetLocationRequest { code: "acme-2".into() }).await), R::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn vendors_and_locations_are_listed_page_by_page() {
    let world = World::new().await;
    let mut client = world.client.clone();
    let codes = ["a", "B", "c", "d", "E"];
    for code in codes {
        world.vendor(code).await;
        world.location(code).await;
    }
    let (mut vendors, mut locations) = (Vec::new(), Vec::new());
    let mut request = wire::ListVendorsRequest { page_size: 2, page_token: String::new() };
    loop {
        let page = client.list_vendors(request.clone()).await.unwrap().into_inner();
        vendors.extend(page.vendors.into_iter().map(|vendor| vendor.code));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let wrong = wire::ListLocationsRequest { page_size: 2, page_token: request.page_token.clone() };
        assert_eq!(reason(client.list_locations(wrong).await), R::InvalidPageToken);
    }
    let mut request = wire::ListLocationsRequest { page_size: 2, page_token: String::new() };
    loop {
        let page = client.list_locations(request.clone()).await.map(Response::into_inner).unwrap();
        locations.extend(page.locations.into_iter().map(|location| location.code));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(vendors, ["B", "E", "a", "c", "d"]);
    assert_eq!(locations, vendors);
    assert_eq!(
        violations(client.list_vendors(wire::ListVendorsRequest { page_size: -1, ..Default::default() }).await).0,
        ["page_size"]
    );
    assert_eq!(
        violations(client.list_locations(wire::ListLocationsRequest { page_size: -1, ..Default::default() }).await).0,
        ["page_size"]
    );
}

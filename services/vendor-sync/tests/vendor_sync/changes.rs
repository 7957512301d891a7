//! Connections that change: by mask and etag, paused and resumed.

use holdfast_api::error::v1::ErrorReason as R;
use holdfast_api::reservation::v1::CountMeaning;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_api::vendorsync::v1::upload_feed_request::Part;
use holdfast_api::vendorsync::v1::{ConnectionState, FeedMode, QuantityMeaning, RunState};
use holdfast_testkit::eventually;
use prost_types::{Duration, FieldMask};
use tonic::Status;

use crate::world::{FEED, World, connection, file, id, reason, spec, totals, violations};

const KEYS: &[(&str, &str)] =
    &[("DROP__ROOT", "/nowhere"), ("PULL__CREDENTIALS", r#"[{ name = "acme", token = "Bearer secret" }]"#)];

fn json_schema() -> wire::JsonSchema {
    wire::JsonSchema {
        rows_path: "data.list".to_owned(),
        key_field: "code".to_owned(),
        quantity_field: "stock.free".to_owned(),
        json_lines: false,
    }
}

fn http_pull() -> wire::HttpPull {
    let url = "https://feeds.example.com/stock.json?full=1".to_owned();
    let interval = Some(Duration { seconds: 3600, nanos: 0 });
    wire::HttpPull { url, interval, credential: "acme".to_owned() }
}

fn drop_folder() -> wire::DropFolder {
    wire::DropFolder { path: "acme/in".to_owned(), pattern: "*.csv".to_owned(), done_suffix: ".done".to_owned() }
}

fn update(connection: wire::Connection, paths: &[&str]) -> wire::UpdateConnectionRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    wire::UpdateConnectionRequest {
        request_id: id(),
        connection: Some(wire::Connection { code: FEED.to_owned(), ..connection }),
        update_mask: Some(FieldMask { paths }),
    }
}

impl World {
    async fn change(&self, connection: wire::Connection, paths: &[&str]) -> Result<wire::Connection, Status> {
        let changed = self.client.clone().update_connection(update(connection, paths)).await;
        changed.map(|changed| changed.into_inner().connection.unwrap())
    }

    async fn read(&self) -> wire::Connection {
        let request = wire::GetConnectionRequest { code: FEED.to_owned() };
        self.client.clone().get_connection(request).await.unwrap().into_inner().connection.unwrap()
    }

    async fn pause(&self, request_id: String, reason: &str) -> Result<wire::Connection, Status> {
        let (code, actor, reason) = (FEED.to_owned(), "ann".to_owned(), reason.to_owned());
        let request = wire::PauseConnectionRequest { request_id, code, actor, reason };
        self.client.clone().pause_connection(request).await.map(|paused| paused.into_inner().connection.unwrap())
    }

    async fn resume(&self, reason: &str) -> Result<wire::Connection, Status> {
        let (code, actor, reason) = (FEED.to_owned(), "bob".to_owned(), reason.to_owned());
        let request = wire::ResumeConnectionRequest { request_id: id(), code, actor, reason };
        self.client.clone().resume_connection(request).await.map(|resumed| resumed.into_inner().connection.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_all_it_can_have_reads_back_as_it_was_created() {
    let world = World::with(KEYS).await;
    let wanted = wire::Connection {
        csv_schema: None,
        json_schema: Some(json_schema()),
        cadence: Some(Duration { seconds: 90, nanos: 1000 }),
        http_pull: Some(http_pull()),
        apply_first_file: false,
        clock_margin: Some(Duration { seconds: 0, nanos: 1000 }),
        reflection_lag: Some(Duration { seconds: 60 * 86_400, nanos: 0 }),
        ..connection(FeedMode::Full)
    };
    let created = world.create(wanted.clone()).await.unwrap();
    assert_eq!((created.state(), created.state_reason.as_str()), (ConnectionState::Active, ""));
    assert!(!created.etag.is_empty() && created.applied_as_of_time.is_none());
    let output = wire::Connection {
        create_time: created.create_time,
        etag: created.etag.clone(),
        state: created.state,
        ..wanted
    };
    assert_eq!(created, output);
    let read = world.read().await;
    let unfetched = wire::Connection { fetch_status: String::new(), fetch_time: None, ..read };
    assert_eq!(unfetched, created);
    let listed = world.client.clone().list_connections(wire::ListConnectionsRequest::default()).await.unwrap();
    assert!(listed.into_inner().connections.iter().any(|listed| listed.json_schema == created.json_schema));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_wrong_with_a_source_is_said_at_once() {
    let world = World::new().await;
    let pull = wire::HttpPull {
        url: "ftp://a/b".into(),
        interval: Some(Duration { seconds: 9, nanos: 0 }),
        credential: "nobody".into(),
    };
    let wrong = wire::Connection {
        json_schema: Some(json_schema()),
        cadence: Some(Duration { seconds: 59, nanos: 0 }),
        http_pull: Some(pull),
        clock_margin: Some(Duration { seconds: 7 * 86_400, nanos: 1000 }),
        reflection_lag: Some(Duration { seconds: 59, nanos: 0 }),
        ..connection(FeedMode::Full)
    };
    assert_eq!(
        violations(world.create(wrong).await).0,
        [
            "connection.json_schema",
            "connection.cadence",
            "connection.http_pull.url",
            "connection.http_pull.credential",
            "connection.http_pull.interval",
            "connection.clock_margin",
            "connection.reflection_lag",
        ]
    );
    let wrong = wire::Connection {
        code: "house".into(),
        csv_schema: None,
        drop_folder: Some(drop_folder()),
        ..connection(FeedMode::Full)
    };
    let fields = violations(world.create(wrong).await).0;
    assert_eq!(fields, ["connection.code", "connection.csv_schema", "connection.drop_folder"], "there is no drop root");
    let both = wire::Connection {
        drop_folder: Some(drop_folder()),
        http_pull: Some(http_pull()),
        ..connection(FeedMode::Full)
    };
    assert_eq!(violations(world.create(both).await).0, ["connection.http_pull"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_of_a_drop_folder_leads_out_of_the_root() {
    let world = World::with(KEYS).await;
    let long = "x".repeat(1001);
    for path in [
        "",
        "/etc",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "./a",
        "a//b",
        "a/",
        ".hidden",
        "a/.archive",
        "a\0b",
        "a\nb",
        &long,
    ] {
        let folder = wire::DropFolder { path: path.to_owned(), ..drop_folder() };
        let wrong = wire::Connection { drop_folder: Some(folder), ..connection(FeedMode::Full) };
        assert_eq!(violations(world.create(wrong).await).0, ["connection.drop_folder.path"], "{path:?}");
    }
    let folder = wire::DropFolder { pattern: "../*".into(), done_suffix: "/x".into(), ..drop_folder() };
    let wrong = wire::Connection { drop_folder: Some(folder), ..connection(FeedMode::Full) };
    assert_eq!(
        violations(world.create(wrong).await).0,
        ["connection.drop_folder.pattern", "connection.drop_folder.done_suffix"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_touches_what_it_names_and_nothing_else() {
    let world = World::feed_with(FeedMode::Full, "", KEYS).await;
    let before = world.read().await;
    let new = wire::Connection {
        vendor: "other".into(),
        meaning: QuantityMeaning::Available.into(),
        mode: FeedMode::Partial.into(),
        cadence: Some(Duration { seconds: 3600, nanos: 0 }),
        ..wire::Connection::default()
    };
    let after = world.change(new, &["meaning", "cadence"]).await.unwrap();
    assert_ne!(after.etag, before.etag);
    let wanted = wire::Connection {
        etag: after.etag.clone(),
        meaning: QuantityMeaning::Available.into(),
        cadence: Some(Duration { seconds: 3600, nanos: 0 }),
        ..before
    };
    assert_eq!(after, wanted);
    assert_eq!(world.read().await, after);
    let day = Some(Duration { seconds: 86_400, nanos: 0 });
    let clocks = wire::Connection { clock_margin: day, reflection_lag: day, ..wire::Connection::default() };
    let margin = world.change(clocks.clone(), &["clock_margin"]).await.unwrap();
    assert_eq!((margin.clock_margin, margin.reflection_lag, margin.cadence), (day, None, after.cadence));
    let lag = world.change(wire::Connection { clock_margin: None, ..clocks }, &["reflection_lag"]).await.unwrap();
    assert_eq!((lag.clock_margin, lag.reflection_lag), (day, day));
    let nothing = Some(Duration::default());
    let zero = wire::Connection { clock_margin: nothing, reflection_lag: nothing, ..wire::Connection::default() };
    assert_eq!(violations(world.change(zero.clone(), &["reflection_lag"]).await).0, ["connection.reflection_lag"]);
    assert_eq!(world.change(zero, &["clock_margin"]).await.unwrap().clock_margin, None, "no margin is none");
    let unset = world.change(wire::Connection::default(), &["cadence", "apply_first_file"]).await.unwrap();
    assert_eq!((unset.cadence, unset.apply_first_file), (None, false));
    let said = world
        .number("SELECT count(*) FROM connection_event WHERE action = 'UPDATED' AND reason = 'cadence, meaning'")
        .await;
    assert_eq!(said, 1, "the history has it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_file_is_read_again_once_its_schema_was_corrected() {
    let world = World::feed(FeedMode::Full, "a:CHAIR").await;
    let file = "art;stock\na;3\n";
    let refused = world.upload_as(spec(1), file).await.unwrap().run.unwrap();
    assert_eq!(refused.state(), RunState::Refused);
    let again = world.upload_as(spec(1), file).await.unwrap();
    assert_eq!((again.run.as_ref(), again.replayed), (Some(&refused), true), "nothing was changed: the same word");
    let schema = wire::CsvSchema {
        delimiter: ";".to_owned(),
        header: ["art", "stock"].map(str::to_owned).to_vec(),
        key_column: "art".to_owned(),
        quantity_column: "stock".to_owned(),
    };
    let corrected = wire::Connection { csv_schema: Some(schema), ..wire::Connection::default() };
    world.change(corrected, &["csv_schema"]).await.unwrap();
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (mut client, parts) = (world.client.clone(), vec![Part::Spec(spec(1)), Part::Chunk(file.into())]);
        let parts = parts.into_iter().map(|part| wire::UploadFeedRequest { part: Some(part) }).collect::<Vec<_>>();
        sent.spawn(async move { client.upload_feed(tokio_stream::iter(parts)).await });
    }
    while let Some(answer) = sent.join_next().await {
        let run = answer.unwrap().unwrap().into_inner().run.unwrap();
        let run = world.finished(&run.run_id).await;
        assert_eq!((run.state(), &run.run_id, totals(&run)), (RunState::Applied, &refused.run_id, [1, 1, 0, 0, 0, 0]));
    }
    assert_eq!((world.stock().as_str(), world.peers.landed()), ("CHAIR=3", 1));
    assert_eq!(world.number("SELECT count(*) FROM run_content").await, 0);
    // What was applied is never read again.
    let partial = wire::Connection { mode: FeedMode::Partial.into(), ..wire::Connection::default() };
    world.change(partial, &["mode"]).await.unwrap();
    assert!(world.upload_as(spec(1), file).await.unwrap().replayed);
    assert_eq!(world.peers.landed(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_pair_takes_the_others_place() {
    let world = World::feed_with(FeedMode::Full, "", KEYS).await;
    let json = wire::Connection { json_schema: Some(json_schema()), ..wire::Connection::default() };
    let changed = world.change(json.clone(), &["json_schema"]).await.unwrap();
    assert_eq!((changed.csv_schema, changed.json_schema), (None, Some(json_schema())));
    let neither = world.change(wire::Connection::default(), &["json_schema"]).await;
    assert_eq!(violations(neither).0, ["connection.csv_schema"]);
    let both = wire::Connection { csv_schema: connection(FeedMode::Full).csv_schema, ..json };
    assert_eq!(
        violations(world.change(both.clone(), &["json_schema", "csv_schema"]).await).0,
        ["connection.json_schema"]
    );
    assert!(world.change(both, &["csv_schema"]).await.unwrap().json_schema.is_none());

    let folder = wire::Connection { drop_folder: Some(drop_folder()), ..wire::Connection::default() };
    let changed = world.change(folder, &["drop_folder"]).await.unwrap();
    assert_eq!((changed.drop_folder, changed.http_pull), (Some(drop_folder()), None));
    let pull = wire::Connection { http_pull: Some(http_pull()), ..wire::Connection::default() };
    let changed = world.change(pull, &["http_pull"]).await.unwrap();
    assert_eq!((changed.drop_folder, changed.http_pull), (None, Some(http_pull())));
    let changed = world.change(wire::Connection::default(), &["drop_folder", "http_pull"]).await.unwrap();
    assert_eq!((changed.drop_folder, changed.http_pull), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_an_older_connection_does_not_change_the_newer_one() {
    let world = World::feed(FeedMode::Full, "").await;
    let etag = world.read().await.etag;
    let mut set = tokio::task::JoinSet::new();
    for seconds in 60..68 {
        let cadence = Some(Duration { seconds, nanos: 0 });
        let request =
            update(wire::Connection { cadence, etag: etag.clone(), ..wire::Connection::default() }, &["cadence"]);
        let mut client = world.client.clone();
        set.spawn(async move { client.update_connection(request).await });
    }
    let mut changed = 0;
    while let Some(answer) = set.join_next().await {
        match answer.unwrap() {
            Ok(_) => changed += 1,
            Err(status) => assert_eq!(reason::<()>(Err(status)), R::EtagMismatch),
        }
    }
    assert_eq!(changed, 1);
    assert_eq!(world.number("SELECT revision FROM connection WHERE code = 'acme-berlin'").await, 2);
    let blind = wire::Connection { mode: FeedMode::Partial.into(), ..wire::Connection::default() };
    assert_eq!(
        world.change(blind, &["mode"]).await.unwrap().mode(),
        FeedMode::Partial,
        "without an etag the last one wins"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_sent_again_has_its_effect_once() {
    let world = World::feed(FeedMode::Full, "").await;
    let partial = wire::Connection { mode: FeedMode::Partial.into(), ..wire::Connection::default() };
    let request = update(partial, &["mode"]);
    let first = world.client.clone().update_connection(request.clone()).await.unwrap().into_inner();
    let full = wire::Connection { mode: FeedMode::Full.into(), ..wire::Connection::default() };
    let later = world.change(full.clone(), &["mode"]).await.unwrap();
    let again = world.client.clone().update_connection(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first, "the first answer");
    assert_eq!(world.read().await, later, "and no second effect");
    let other = wire::UpdateConnectionRequest { request_id: request.request_id, ..update(full, &["mode"]) };
    assert_eq!(reason(world.client.clone().update_connection(other).await), R::KeyReused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_is_refused() {
    let world = World::feed(FeedMode::Full, "").await;
    let some = || wire::Connection { mode: FeedMode::Partial.into(), ..wire::Connection::default() };
    for paths in [&[][..], &["vendor"], &["mode", "state"], &["csv_schema.header"], &["*"]] {
        assert_eq!(violations(world.change(some(), paths).await).0, ["update_mask"], "{paths:?}");
    }
    let unset = world.change(wire::Connection::default(), &["mode"]).await;
    assert_eq!(violations(unset).0, ["connection.mode"]);
    let mut unknown = update(some(), &["mode"]);
    unknown.connection.as_mut().unwrap().code = "nobody".to_owned();
    assert_eq!(reason(world.client.clone().update_connection(unknown).await), R::NotFound);
    let mut house = update(some(), &["mode"]);
    house.connection.as_mut().unwrap().code = "house".to_owned();
    assert_eq!(violations(world.client.clone().update_connection(house).await).0, ["connection.code"]);
    let nothing = wire::UpdateConnectionRequest::default();
    assert_eq!(violations(world.client.clone().update_connection(nothing).await).0, ["request_id", "connection"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_connection_stays_so_for_the_first_reason_until_it_is_resumed() {
    let world = World::feed(FeedMode::Full, "").await;
    let before = world.read().await;
    let key = id();
    let paused = world.pause(key.clone(), "their export is broken").await.unwrap();
    assert_eq!((paused.state(), paused.state_reason.as_str()), (ConnectionState::Paused, "their export is broken"));
    assert_ne!(paused.etag, before.etag);
    let second = world.pause(id(), "me too").await.unwrap();
    assert_eq!(second, paused);
    let resumed = world.resume("it is repaired").await.unwrap();
    assert_eq!((resumed.state(), resumed.state_reason.as_str()), (ConnectionState::Active, ""));
    assert_eq!(world.pause(key.clone(), "their export is broken").await.unwrap(), paused, "the first answer");
    assert_eq!(world.read().await.state(), ConnectionState::Active, "and no second effect");
    assert_eq!(reason(world.pause(key, "another").await), R::KeyReused);
    assert_eq!(world.resume("again").await.unwrap(), resumed, "one that is active stays so");
    let history: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', action, actor, reason) FROM connection_event WHERE connection = 'acme-berlin' ORDER BY create_time",
    )
    .fetch_all(&world.database.admin_pool().await)
    .await
    .unwrap();
    assert_eq!(history, ["CREATED  ", "PAUSED ann their export is broken", "RESUMED bob it is repaired"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pauses_says_who_and_why() {
    let world = World::feed(FeedMode::Full, "").await;
    let wrong = wire::PauseConnectionRequest {
        request_id: "x".into(),
        code: "house".into(),
        actor: String::new(),
        reason: "x".repeat(501),
    };
    assert_eq!(
        violations(world.client.clone().pause_connection(wrong).await).0,
        ["request_id", "code", "actor", "reason"]
    );
    let unknown = wire::ResumeConnectionRequest {
        request_id: id(),
        code: "nobody".into(),
        actor: "a".into(),
        reason: "b".into(),
    };
    assert_eq!(reason(world.client.clone().resume_connection(unknown).await), R::NotFound);
    assert_eq!(world.number("SELECT count(*) FROM connection_event WHERE action <> 'CREATED'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_applied_like_csv_and_a_cut_off_document_is_refused() {
    let world = World::with(&[]).await;
    world.offers("a:CHAIR b:CUP*12");
    let json = wire::Connection { csv_schema: None, json_schema: Some(json_schema()), ..connection(FeedMode::Full) };
    world.create(json).await.unwrap();
    let text = r#"{"ok": true, "data": {"list": [{"code": "a", "stock": {"free": 3}}, {"code": "b", "stock": {"free": "2"}}, {"code": "c", "stock": {"free": 1}}]}}"#;
    let run = world.upload_file(0, text).await.unwrap().run.unwrap();
    assert_eq!((run.state(), totals(&run)[..5].to_vec()), (RunState::Applied, vec![3, 2, 0, 0, 1]));
    assert_eq!(world.stock(), "CHAIR=3 CUP=24");
    let cut = world.upload_file(1, &text[..text.len() - 20]).await.unwrap().run.unwrap();
    assert_eq!(cut.state(), RunState::Refused);
    assert!(cut.reason.contains("the text ends in the middle of a value (line 1, column"), "{}", cut.reason);
    let csv =
        world.upload_as(wire::UploadFeedSpec { request_id: id(), ..spec(2) }, file("a=3")).await.unwrap().run.unwrap();
    assert_eq!(csv.state(), RunState::Refused);
    assert_eq!(world.stock(), "CHAIR=3 CUP=24");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_as_it_began_whatever_becomes_of_its_connection() {
    let world = World::feed(FeedMode::Full, "a:CHAIR").await;
    world.peers.let_through(0);
    let upload = {
        let (world, spec) = (world.client.clone(), spec(0));
        let parts = [Part::Spec(spec), Part::Chunk(file("a=3").into_bytes())];
        let parts = parts.map(|part| wire::UploadFeedRequest { part: Some(part) });
        tokio::spawn(async move { world.clone().upload_feed(tokio_stream::iter(parts)).await })
    };
    eventually("the run is planned", std::time::Duration::from_secs(60), || async {
        (world.number("SELECT count(*) FROM run WHERE plan_time IS NOT NULL").await == 1).then_some(())
    })
    .await;
    let other = wire::Connection {
        mode: FeedMode::Partial.into(),
        meaning: QuantityMeaning::Available.into(),
        ..wire::Connection::default()
    };
    world.change(other, &["mode", "meaning"]).await.unwrap();
    world.peers.let_through(100);
    let run = upload.await.unwrap().unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), world.stock().as_str()), (RunState::Applied, "CHAIR=3"));
    world.upload(1, "a=4").await;
    let said: Vec<(bool, CountMeaning)> = {
        let stock = world.peers.stock.lock().unwrap();
        stock.landed.iter().map(|request| (request.covers_all, request.meaning())).collect()
    };
    assert_eq!(said, [(true, CountMeaning::OnHand), (false, CountMeaning::Available)]);
}

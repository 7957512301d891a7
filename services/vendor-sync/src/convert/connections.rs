//! Connections between the wire and vendor-sync's own types.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use holdfast_api::error::v1::ErrorReason;
use holdfast_api::vendorsync::v1 as wire;
use holdfast_feeds::formats::SchemaProblem;
use holdfast_feeds::observation::{Class, Mode};
use holdfast_kit::{Problem, Violations};
use prost::Message as _;
use url::Url;
use uuid::Uuid;

use super::timestamp;
use crate::fingerprint::Fingerprint;
use crate::model::{
    Columns, Connection, DropFolder, Fetched, Fields, FileSource, HttpPull, Layout, NewConnection, Promise,
};
use crate::store::RequestKey;

/// The built-in connection: what the shop's own people type.
pub const HOUSE: &str = "house";
/// The shortest and the longest cadence.
const CADENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(366 * 86_400));
/// The most that a vendor's clock may be from ours, and the least that is kept of it.
const CLOCK_MARGIN: (Duration, Duration) = (Duration::from_micros(1), Duration::from_secs(7 * 86_400));
/// The shortest and the longest time after which a vendor's numbers reflect an order that was sent.
const REFLECTION_LAG: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 86_400));
/// The shortest and the longest time between two looks at an address.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(31 * 86_400));
/// The longest path of a drop folder, in bytes.
const DROP_PATH_BYTES_MAX: usize = 1000;
/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 255;
/// The longest suffix of a marker, in bytes.
const SUFFIX_BYTES_MAX: usize = 64;
/// The longest URL, in bytes.
const URL_BYTES_MAX: usize = 2000;
/// Who may be named, in bytes.
const ACTOR_BYTES: std::ops::RangeInclusive<usize> = 1..=128;
/// How long a reason may be, in bytes.
const REASON_BYTES: std::ops::RangeInclusive<usize> = 1..=500;

/// What UpdateConnection may change.
const FIELDS: [&str; 10] = [
    "mode",
    "meaning",
    "csv_schema",
    "json_schema",
    "cadence",
    "drop_folder",
    "http_pull",
    "apply_first_file",
    "clock_margin",
    "reflection_lag",
];

/// What a connection may refer to in this service's configuration.
#[derive(Debug, Clone, Default)]
pub struct Fetchable {
    /// Whether there is a root for drop folders.
    pub has_drop_root: bool,
    /// The names of the credentials for fetching.
    pub credentials: HashSet<String>,
}

/// What CreateConnection asks for.
///
/// # Errors
/// INVALID_FIELD.
pub fn create_connection(
    request: wire::CreateConnectionRequest,
    fetchable: &Fetchable,
) -> Result<(Uuid, NewConnection), Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", &request.request_id);
    let Some(connection) = request.connection else {
        violations.add("connection", "is required");
        return Err(violations.into_problem());
    };
    let new = content(&mut violations, connection, fetchable);
    match (request_id, new) {
        (Some(request_id), Some(new)) if violations.is_empty() => Ok((request_id, new)),
        _ => Err(violations.into_problem()),
    }
}

/// What people say of a connection, all of it checked.
fn content(violations: &mut Violations, connection: wire::Connection, fetchable: &Fetchable) -> Option<NewConnection> {
    if violations.check_code("connection.code", &connection.code) && connection.code == HOUSE {
        violations.add("connection.code", "is built in: what the shop's own people type");
    }
    violations.check_code("connection.vendor", &connection.vendor);
    violations.check_code("connection.location", &connection.location);
    let mode = mode(violations, connection.mode());
    let class = class(violations, connection.meaning());
    let layout = layout(violations, connection.csv_schema, connection.json_schema);
    let cadence = connection.cadence.and_then(|cadence| duration(violations, "connection.cadence", cadence, CADENCE));
    let source = source(violations, connection.drop_folder, connection.http_pull, fetchable);
    let clock_margin = clock_margin(violations, connection.clock_margin);
    let reflection_lag = connection
        .reflection_lag
        .and_then(|lag| duration(violations, "connection.reflection_lag", lag, REFLECTION_LAG));
    let wire::Connection { code, vendor, location, apply_first_file, .. } = connection;
    let (mode, class, layout) = (mode?, class?, layout?);
    let promise = Promise { cadence, clock_margin, reflection_lag };
    Some(NewConnection { code, vendor, location, mode, class, layout, promise, source, apply_first_file })
}

/// A margin of 0 is none.
fn clock_margin(violations: &mut Violations, margin: Option<prost_types::Duration>) -> Option<Duration> {
    let margin = margin.filter(|margin| *margin != prost_types::Duration::default())?;
    duration(violations, "connection.clock_margin", margin, CLOCK_MARGIN)
}

fn mode(violations: &mut Violations, mode: wire::FeedMode) -> Option<Mode> {
    match mode {
        wire::FeedMode::Full => Some(Mode::Full),
        wire::FeedMode::Partial => Some(Mode::Partial),
        wire::FeedMode::Unspecified => {
            violations.add(
                "connection.mode",
                "must be FEED_MODE_FULL or FEED_MODE_PARTIAL: absent never silently means zero",
            );
            None
        }
    }
}

fn class(violations: &mut Violations, meaning: wire::QuantityMeaning) -> Option<Class> {
    match meaning {
        wire::QuantityMeaning::OnHand => Some(Class::OnHand),
        wire::QuantityMeaning::Available => Some(Class::Available),
        wire::QuantityMeaning::Unspecified => {
            violations.add("connection.meaning", "must be QUANTITY_MEANING_ON_HAND or QUANTITY_MEANING_AVAILABLE");
            None
        }
    }
}

fn layout(violations: &mut Violations, csv: Option<wire::CsvSchema>, json: Option<wire::JsonSchema>) -> Option<Layout> {
    let (part, layout) = match (csv, json) {
        (Some(wire::CsvSchema { delimiter, header, key_column, quantity_column }), None) => {
            let delimiter = if delimiter.is_empty() { ",".to_owned() } else { delimiter };
            ("csv_schema", Layout::Csv(Columns { delimiter, header, key_column, quantity_column }))
        }
        (None, Some(wire::JsonSchema { rows_path, key_field, quantity_field, json_lines })) => {
            ("json_schema", Layout::Json(Fields { rows_path, key_field, quantity_field, is_lines: json_lines }))
        }
        (None, None) => {
            violations.add("connection.csv_schema", "is required, or json_schema is");
            return None;
        }
        (Some(_), Some(_)) => {
            violations.add("connection.json_schema", "must not be set beside csv_schema");
            return None;
        }
    };
    for SchemaProblem { part: field, description } in layout.schema().err().unwrap_or_default() {
        violations.add(format_args!("connection.{part}.{field}"), description);
    }
    Some(layout)
}

fn source(
    violations: &mut Violations,
    folder: Option<wire::DropFolder>,
    pull: Option<wire::HttpPull>,
    fetchable: &Fetchable,
) -> Option<FileSource> {
    match (folder, pull) {
        (None, None) => None,
        (Some(folder), None) => Some(FileSource::Drop(drop_folder(violations, folder, fetchable))),
        (None, Some(pull)) => http_pull(violations, pull, fetchable).map(FileSource::Pull),
        (Some(_), Some(_)) => {
            violations.add("connection.http_pull", "must not be set beside drop_folder");
            None
        }
    }
}

fn drop_folder(violations: &mut Violations, folder: wire::DropFolder, fetchable: &Fetchable) -> DropFolder {
    const PATH: &str = "connection.drop_folder.path";
    let wire::DropFolder { path, pattern, done_suffix } = folder;
    if !fetchable.has_drop_root {
        violations.add("connection.drop_folder", "is not possible here: the service has no drop root (drop.root)");
    }
    if violations.check_text(PATH, &path, 1..=DROP_PATH_BYTES_MAX)
        && path.split('/').any(|part| part.is_empty() || part.starts_with('.'))
    {
        violations.add(
            PATH,
            "must be relative to the drop root: names with '/' between them, none of them empty or with a dot first",
        );
    }
    for (field, text, bytes_max) in
        [("pattern", &pattern, PATTERN_BYTES_MAX), ("done_suffix", &done_suffix, SUFFIX_BYTES_MAX)]
    {
        let field = format!("connection.drop_folder.{field}");
        if violations.check_text(&field, text, 0..=bytes_max) && text.contains('/') {
            violations.add(&field, "must not have a '/': files are taken from the folder itself");
        }
    }
    DropFolder { path, pattern, done_suffix }
}

fn http_pull(violations: &mut Violations, pull: wire::HttpPull, fetchable: &Fetchable) -> Option<HttpPull> {
    let wire::HttpPull { url, interval, credential } = pull;
    if violations.check_text("connection.http_pull.url", &url, 1..=URL_BYTES_MAX)
        && let Some(problem) = url_problem(&url)
    {
        violations.add("connection.http_pull.url", problem);
    }
    if !credential.is_empty()
        && violations.check_code("connection.http_pull.credential", &credential)
        && !fetchable.credentials.contains(&credential)
    {
        let problem = "is no credential of this service's configuration (pull.credentials)";
        violations.add("connection.http_pull.credential", problem);
    }
    let Some(interval) = interval else {
        violations.add("connection.http_pull.interval", "is required: 10 s to 31 days");
        return None;
    };
    let interval = duration(violations, "connection.http_pull.interval", interval, INTERVAL)?;
    Some(HttpPull { url, interval, credential })
}

fn url_problem(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("is no URL") };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Some("must be an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not have a user or password: name a credential of the configuration instead");
    }
    None
}

/// A duration within its limits, to the microsecond.
fn duration(
    violations: &mut Violations,
    field: &str,
    duration: prost_types::Duration,
    (min, max): (Duration, Duration),
) -> Option<Duration> {
    let micros = |duration: Duration| Duration::new(duration.as_secs(), duration.subsec_micros() * 1000);
    match Duration::try_from(duration).map(micros) {
        Ok(duration) if (min..=max).contains(&duration) => Some(duration),
        Ok(_) | Err(_) => {
            violations.add(field, format_args!("must be {} to {} s", min.as_secs(), max.as_secs()));
            None
        }
    }
}

/// The key under which a connection is created once.
#[must_use]
pub fn connection_key(request_id: Uuid, new: &NewConnection) -> RequestKey {
    let NewConnection { code, vendor, location, mode, class, layout, .. } = new;
    let parts = Fingerprint::new()
        .part(code)
        .part(vendor)
        .part(location)
        .part([u8::from(*mode == Mode::Full), u8::from(*class == Class::OnHand)]);
    let parts = match layout {
        Layout::Csv(columns) => {
            let parts = parts.part(&columns.delimiter).part(&columns.key_column).part(&columns.quantity_column);
            columns.header.iter().fold(parts, Fingerprint::part)
        }
        Layout::Json(_) => parts,
    };
    // What came with a later version is a part only where it is set, so that a retry across an upgrade is recognised.
    let later = wire::Connection { apply_first_file: new.apply_first_file, ..said(new) };
    let later = wire::Connection {
        json_schema: later.json_schema,
        cadence: later.cadence,
        drop_folder: later.drop_folder,
        http_pull: later.http_pull,
        apply_first_file: later.apply_first_file,
        clock_margin: later.clock_margin,
        reflection_lag: later.reflection_lag,
        ..wire::Connection::default()
    }
    .encode_to_vec();
    let parts = if later.is_empty() { parts } else { parts.part(later) };
    RequestKey { request_id, kind: "CreateConnection", payload_hash: parts.finish() }
}

/// A change that UpdateConnection asks for.
#[derive(Debug, Clone)]
pub struct Change {
    /// The request's key.
    pub key: RequestKey,
    /// Which fields.
    fields: BTreeSet<&'static str>,
    /// Their values, the code and the etag.
    connection: wire::Connection,
}

impl Change {
    /// The connection's code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.connection.code
    }

    /// The fields' names, for people.
    #[must_use]
    pub fn named(&self) -> String {
        self.fields.iter().copied().collect::<Vec<_>>().join(", ")
    }

    /// What people say of the connection after the change.
    ///
    /// # Errors
    /// INVALID_FIELD; ETAG_MISMATCH when the connection is not what the caller knows.
    pub fn of(&self, current: &Connection, fetchable: &Fetchable) -> Result<NewConnection, Problem> {
        if !self.connection.etag.is_empty() && self.connection.etag != etag(current) {
            let message = "the connection was changed since it was read; nothing was changed";
            return Err(Problem::new(ErrorReason::EtagMismatch, message).resource("connection", self.code()));
        }
        let mut changed = said(&current.content);
        let new = self.connection.clone();
        for field in &self.fields {
            match *field {
                "mode" => changed.mode = new.mode,
                "meaning" => changed.meaning = new.meaning,
                "csv_schema" => changed.csv_schema.clone_from(&new.csv_schema),
                "json_schema" => changed.json_schema.clone_from(&new.json_schema),
                "cadence" => changed.cadence = new.cadence,
                "drop_folder" => changed.drop_folder.clone_from(&new.drop_folder),
                "http_pull" => changed.http_pull.clone_from(&new.http_pull),
                "clock_margin" => changed.clock_margin = new.clock_margin,
                "reflection_lag" => changed.reflection_lag = new.reflection_lag,
                _ => changed.apply_first_file = new.apply_first_file,
            }
        }
        // Of each pair at most one is set: one that is named and set takes the other's place, unless that is named too.
        let takes =
            |one: &str, is_set: bool, other: &str| is_set && self.fields.contains(one) && !self.fields.contains(other);
        if takes("csv_schema", new.csv_schema.is_some(), "json_schema") {
            changed.json_schema = None;
        }
        if takes("json_schema", new.json_schema.is_some(), "csv_schema") {
            changed.csv_schema = None;
        }
        if takes("drop_folder", new.drop_folder.is_some(), "http_pull") {
            changed.http_pull = None;
        }
        if takes("http_pull", new.http_pull.is_some(), "drop_folder") {
            changed.drop_folder = None;
        }
        let mut violations = Violations::new();
        match content(&mut violations, changed, fetchable) {
            Some(content) if violations.is_empty() => Ok(content),
            _ => Err(violations.into_problem()),
        }
    }
}

/// What UpdateConnection asks for. The values are checked beside the connection, by [`Change::of`].
///
/// # Errors
/// INVALID_FIELD.
pub fn update_connection(request: wire::UpdateConnectionRequest) -> Result<Change, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", &request.request_id);
    let Some(connection) = request.connection else {
        violations.add("connection", "is required");
        return Err(violations.into_problem());
    };
    check_changeable(&mut violations, "connection.code", &connection.code);
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    let mut fields = BTreeSet::new();
    if paths.is_empty() {
        violations.add("update_mask", format_args!("must name at least one of: {}", FIELDS.join(", ")));
    }
    for path in &paths {
        match FIELDS.into_iter().find(|field| field == path) {
            Some(field) => drop(fields.insert(field)),
            None => {
                violations.add("update_mask", format_args!("may name these only: {}", FIELDS.join(", ")));
                break;
            }
        }
    }
    let Some(request_id) = request_id.filter(|_| violations.is_empty()) else {
        return Err(violations.into_problem());
    };
    let parts = Fingerprint::new().part(fields.iter().copied().collect::<Vec<_>>().join(","));
    let payload_hash = parts.part(named(&connection, &fields).encode_to_vec()).finish();
    Ok(Change { key: RequestKey { request_id, kind: "UpdateConnection", payload_hash }, fields, connection })
}

/// What of a request counts: the fields that its mask names, and which connection it means.
fn named(connection: &wire::Connection, fields: &BTreeSet<&'static str>) -> wire::Connection {
    let has = |field: &str| fields.contains(field);
    wire::Connection {
        code: connection.code.clone(),
        etag: connection.etag.clone(),
        mode: if has("mode") { connection.mode } else { 0 },
        meaning: if has("meaning") { connection.meaning } else { 0 },
        csv_schema: connection.csv_schema.clone().filter(|_| has("csv_schema")),
        json_schema: connection.json_schema.clone().filter(|_| has("json_schema")),
        cadence: connection.cadence.filter(|_| has("cadence")),
        drop_folder: connection.drop_folder.clone().filter(|_| has("drop_folder")),
        http_pull: connection.http_pull.clone().filter(|_| has("http_pull")),
        apply_first_file: has("apply_first_file") && connection.apply_first_file,
        clock_margin: connection.clock_margin.filter(|_| has("clock_margin")),
        reflection_lag: connection.reflection_lag.filter(|_| has("reflection_lag")),
        ..wire::Connection::default()
    }
}

/// Somebody's word that a connection's files are to be applied, or not.
#[derive(Debug, Clone)]
pub struct Switch {
    /// The request's key.
    pub key: RequestKey,
    /// The connection's code.
    pub code: String,
    /// Whether they are to be held from now on.
    pub pause: bool,
    /// Who says so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What PauseConnection and ResumeConnection ask for.
///
/// # Errors
/// INVALID_FIELD.
pub fn switch(request_id: &str, code: String, actor: String, reason: String, pause: bool) -> Result<Switch, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("request_id", request_id);
    check_changeable(&mut violations, "code", &code);
    violations.check_text("actor", &actor, ACTOR_BYTES);
    violations.check_text("reason", &reason, REASON_BYTES);
    match request_id {
        Some(request_id) if violations.is_empty() => {
            let kind = if pause { "PauseConnection" } else { "ResumeConnection" };
            let payload_hash = Fingerprint::new().part(&code).part(&actor).part(&reason).finish();
            Ok(Switch { key: RequestKey { request_id, kind, payload_hash }, code, pause, actor, reason })
        }
        _ => Err(violations.into_problem()),
    }
}

fn check_changeable(violations: &mut Violations, field: &str, code: &str) {
    if violations.check_code(field, code) && code == HOUSE {
        violations.add(field, "is built in and does not change");
    }
}

/// Nothing can be looked at.
#[must_use]
pub fn nothing_to_look_at() -> Problem {
    let mut violations = Violations::new();
    violations.add("code", "is a connection with neither a drop folder nor an address");
    violations.into_problem()
}

/// The answer to CreateConnection, as it is sent now and kept for replays.
#[must_use]
pub fn created(created: &Connection) -> Vec<u8> {
    wire::CreateConnectionResponse { connection: Some(connection(created.clone())) }.encode_to_vec()
}

/// The answer to UpdateConnection, PauseConnection and ResumeConnection, which look alike, as it is sent now and kept for replays.
#[must_use]
pub fn changed(changed: &Connection) -> Vec<u8> {
    wire::UpdateConnectionResponse { connection: Some(connection(changed.clone())) }.encode_to_vec()
}

/// A connection for the wire.
#[must_use]
pub fn connection(connection: Connection) -> wire::Connection {
    let etag = etag(&connection);
    let state = if connection.paused.is_some() { wire::ConnectionState::Paused } else { wire::ConnectionState::Active };
    let (fetch_status, fetch_time) = match connection.fetched {
        Some(Fetched { status, time }) => (status, Some(timestamp(time))),
        None => (String::new(), None),
    };
    wire::Connection {
        create_time: Some(timestamp(connection.create_time)),
        etag,
        state: state.into(),
        state_reason: connection.paused.unwrap_or_default(),
        applied_as_of_time: connection.accepted.map(|accepted| timestamp(accepted.as_of)),
        fetch_status,
        fetch_time,
        ..said(&connection.content)
    }
}

/// What people say of a connection, for the wire.
fn said(content: &NewConnection) -> wire::Connection {
    let mode = match content.mode {
        Mode::Full => wire::FeedMode::Full,
        Mode::Partial => wire::FeedMode::Partial,
    };
    let meaning = match content.class {
        Class::OnHand => wire::QuantityMeaning::OnHand,
        Class::Available => wire::QuantityMeaning::Available,
    };
    let (csv_schema, json_schema) = match content.layout.clone() {
        Layout::Csv(Columns { delimiter, header, key_column, quantity_column }) => {
            (Some(wire::CsvSchema { delimiter, header, key_column, quantity_column }), None)
        }
        Layout::Json(Fields { rows_path, key_field, quantity_field, is_lines }) => {
            (None, Some(wire::JsonSchema { rows_path, key_field, quantity_field, json_lines: is_lines }))
        }
    };
    let (drop_folder, http_pull) = match content.source.clone() {
        None => (None, None),
        Some(FileSource::Drop(DropFolder { path, pattern, done_suffix })) => {
            (Some(wire::DropFolder { path, pattern, done_suffix }), None)
        }
        Some(FileSource::Pull(HttpPull { url, interval, credential })) => {
            (None, Some(wire::HttpPull { url, interval: Some(wire_duration(interval)), credential }))
        }
    };
    wire::Connection {
        code: content.code.clone(),
        vendor: content.vendor.clone(),
        location: content.location.clone(),
        mode: mode.into(),
        meaning: meaning.into(),
        csv_schema,
        json_schema,
        cadence: content.promise.cadence.map(wire_duration),
        drop_folder,
        http_pull,
        apply_first_file: content.apply_first_file,
        clock_margin: content.promise.clock_margin.map(wire_duration),
        reflection_lag: content.promise.reflection_lag.map(wire_duration),
        ..wire::Connection::default()
    }
}

fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("durations are checked to be at most 366 days")
}

/// What changes with every change of a connection.
fn etag(connection: &Connection) -> String {
    let parts = Fingerprint::new().part(&connection.content.code).part(connection.revision.to_be_bytes());
    parts.finish()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

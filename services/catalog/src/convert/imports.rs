//! An import's specification and its answer.

use holdfast_api::catalog::v1 as wire;
use holdfast_kit::{Problem, Violations};
use prost::Message as _;

use super::non_empty;
use crate::import::{ErrorMode, Format, ImportSpec, PolicyField, Report, RowProblem};
use crate::rules;

/// How ImportSkus' first message says that the file is to be read.
///
/// # Errors
/// INVALID_FIELD.
pub fn import_spec(spec: wire::ImportSkusSpec) -> Result<ImportSpec, Problem> {
    let mut violations = Violations::new();
    let request_id = violations.check_uuid("spec.request_id", &spec.request_id);
    violations.check_text("spec.code_column", &spec.code_column, 1..=COLUMN_BYTES_MAX);
    violations.check_text("spec.name_column", &spec.name_column, 0..=COLUMN_BYTES_MAX);
    violations.check_text("spec.gtin_column", &spec.gtin_column, 0..=COLUMN_BYTES_MAX);
    check_attribute_columns(&mut violations, &spec.attribute_columns);
    let format = format(&mut violations, &spec);
    let policy_columns = policy_columns(&mut violations, spec.policy_columns.as_ref());
    let delimiter = delimiter(&mut violations, &spec.delimiter);
    let error_mode = error_mode(&mut violations, &spec);
    let size_bytes = match spec.size_bytes {
        0 => None,
        size => u64::try_from(size).ok(),
    };
    if spec.size_bytes < 0 {
        violations.add("spec.size_bytes", format_args!("must not be negative, is {}", spec.size_bytes));
    }
    match (request_id, delimiter, error_mode, format) {
        (Some(request_id), Some(delimiter), Some(error_mode), Some(format)) if violations.is_empty() => {
            Ok(ImportSpec {
                request_id,
                code_column: spec.code_column,
                name_column: non_empty(spec.name_column),
                gtin_column: non_empty(spec.gtin_column),
                attribute_columns: spec.attribute_columns,
                policy_columns,
                format,
                delimiter,
                error_mode,
                size_bytes,
            })
        }
        _ => Err(violations.into_problem()),
    }
}

/// The longest name of a column that a file is searched for, in bytes.
const COLUMN_BYTES_MAX: usize = 200;

fn check_attribute_columns(violations: &mut Violations, columns: &[String]) {
    const FIELD: &str = "spec.attribute_columns";
    if columns.len() > crate::model::ATTRIBUTES_MAX {
        violations.add(
            FIELD,
            format_args!("must have at most {} entries, has {}", crate::model::ATTRIBUTES_MAX, columns.len()),
        );
        return;
    }
    for (index, column) in columns.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        violations.check_text(&field, column, 1..=rules::ATTRIBUTE_KEY_BYTES_MAX);
        if columns[..index].contains(column) {
            violations.add(field, "stands in the list before");
        }
    }
}

fn delimiter(violations: &mut Violations, text: &str) -> Option<u8> {
    match text.as_bytes() {
        [] => Some(b','),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) && !byte.is_ascii_alphanumeric() => {
            Some(*byte)
        }
        _ => {
            violations.add(
                "spec.delimiter",
                "must be one ASCII character that is no letter, digit, quote or line end, or empty for a comma",
            );
            None
        }
    }
}

fn error_mode(violations: &mut Violations, spec: &wire::ImportSkusSpec) -> Option<ErrorMode> {
    match spec.error_mode() {
        wire::ImportErrorMode::AllOrNothing => Some(ErrorMode::AllOrNothing),
        wire::ImportErrorMode::SkipBadRows => Some(ErrorMode::SkipBadRows),
        wire::ImportErrorMode::Unspecified => {
            violations
                .add("spec.error_mode", "must be IMPORT_ERROR_MODE_ALL_OR_NOTHING or IMPORT_ERROR_MODE_SKIP_BAD_ROWS");
            None
        }
    }
}

fn format(violations: &mut Violations, spec: &wire::ImportSkusSpec) -> Option<Format> {
    match wire::ImportFormat::try_from(spec.format) {
        Ok(wire::ImportFormat::Unspecified | wire::ImportFormat::Csv) => Some(Format::Csv),
        Ok(wire::ImportFormat::JsonLines) => {
            if !spec.delimiter.is_empty() {
                violations.add("spec.delimiter", "must be empty: JSON Lines have no delimiter");
            }
            Some(Format::JsonLines)
        }
        Err(_) => {
            violations.add("spec.format", "must be IMPORT_FORMAT_CSV or IMPORT_FORMAT_JSON_LINES");
            None
        }
    }
}

fn policy_columns(violations: &mut Violations, columns: Option<&wire::PolicyColumns>) -> Vec<(PolicyField, String)> {
    let Some(columns) = columns else { return Vec::new() };
    let named = [
        (PolicyField::SafetyStock, "safety_stock", &columns.safety_stock),
        (PolicyField::BackorderLimit, "backorder_limit", &columns.backorder_limit),
        (PolicyField::MaxPerReservation, "max_per_reservation", &columns.max_per_reservation),
        (PolicyField::MaxPerOwner, "max_per_owner", &columns.max_per_owner),
        (PolicyField::DefaultHold, "default_hold_seconds", &columns.default_hold_seconds),
        (PolicyField::Locations, "locations", &columns.locations),
        (PolicyField::MaxPerMinute, "max_per_minute", &columns.max_per_minute),
        (PolicyField::ChannelCaps, "channel_caps", &columns.channel_caps),
        (PolicyField::PromiseTime, "promise_time", &columns.promise_time),
        (PolicyField::PromiseLead, "promise_lead_seconds", &columns.promise_lead_seconds),
    ];
    let mut wanted = Vec::new();
    for (field, name, column) in named {
        violations.check_text(format_args!("spec.policy_columns.{name}"), column, 0..=COLUMN_BYTES_MAX);
        if !column.is_empty() {
            wanted.push((field, column.clone()));
        }
    }
    wanted
}

/// The answer to an import, as it is sent now and kept for replays.
#[must_use]
pub fn import_answer(report: &Report) -> Vec<u8> {
    let problem = |RowProblem { line, column, description }: &RowProblem| wire::RowProblem {
        line: *line,
        column: column.clone(),
        description: description.clone(),
    };
    wire::ImportSkusResponse {
        rows: report.rows,
        created: report.applied.created,
        updated: report.applied.updated,
        unchanged: report.applied.unchanged,
        failed: report.failed(),
        problems: report.problems.listed().map(problem).collect(),
        bad_rows: report.problems.bad_rows(),
    }
    .encode_to_vec()
}

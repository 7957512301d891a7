//! Where a file's header puts what the catalog wants, and what its rows say.

use std::str;

use holdfast_api::error::v1::ErrorReason;
use holdfast_kit::Problem;

use super::ImportSpec;
use super::problems::RowProblem;
use super::records::Record;
use crate::model::{Attributes, NewSku};
use crate::rules::{self, complaint};

/// How many of the file's columns an error names, and how much of each.
const COLUMNS_NAMED_MAX: usize = 50;
const COLUMN_CHARS_MAX: usize = 40;

/// Where in a row what stands.
#[derive(Debug)]
pub(super) struct Layout {
    columns: usize,
    code: Column,
    name: Option<Column>,
    gtin: Option<Column>,
    attributes: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    index: usize,
}

impl Layout {
    /// Finds the columns in the header. White space around its names does not matter.
    ///
    /// # Errors
    /// FILE_REFUSED when the header is not UTF-8, has not all of the columns, or has one of them twice; it says which columns the file has.
    pub(super) fn new(spec: &ImportSpec, header: Record<'_>) -> Result<Self, Problem> {
        let names: Option<Vec<&str>> = header.fields().map(|field| str::from_utf8(field).ok().map(str::trim)).collect();
        let names = names.ok_or_else(|| refused("the header is not UTF-8 text"))?;
        let mut missing = Vec::new();
        let mut twice = Vec::new();
        let mut find = |name: &str| {
            let mut places =
                names.iter().enumerate().filter(|(_, column)| **column == name.trim()).map(|(index, _)| index);
            let index = places.next();
            if index.is_none() {
                missing.push(name.to_owned());
            } else if places.next().is_some() {
                twice.push(name.to_owned());
            }
            Column { name: name.to_owned(), index: index.unwrap_or(0) }
        };
        let layout = Self {
            columns: names.len(),
            code: find(&spec.code_column),
            name: spec.name_column.as_deref().map(&mut find),
            gtin: spec.gtin_column.as_deref().map(&mut find),
            attributes: spec.attribute_columns.iter().map(|column| find(column)).collect(),
        };
        if !missing.is_empty() {
            let message = format!("the header has no column {}; it has {}", quoted(&missing), quoted(&names));
            return Err(refused(message)
                .metadata("missing_columns", quoted(&missing))
                .metadata("columns", quoted(&names)));
        }
        if !twice.is_empty() {
            return Err(refused(format!("the header has more than one column {}", quoted(&twice)))
                .metadata("columns", quoted(&names)));
        }
        Ok(layout)
    }

    /// What a row says.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn row(&self, record: Record<'_>) -> Result<NewSku, Vec<RowProblem>> {
        let line = record.line;
        if record.len() != self.columns {
            let description = format!("has {} fields, the header has {}", record.len(), self.columns);
            return Err(vec![RowProblem { line, column: String::new(), description }]);
        }
        let mut problems = Vec::new();
        let mut cell = |column: &Column, check: fn(&str) -> Option<String>| {
            let found = text(record, column.index).and_then(|text| check(text).map_or(Ok(text), Err));
            found.unwrap_or_else(|description| {
                problems.push(RowProblem { line, column: column.name.clone(), description });
                ""
            })
        };
        let code = cell(&self.code, check_code).to_owned();
        let name = self.name.as_ref().map_or("", |column| cell(column, check_name)).to_owned();
        let gtin = self.gtin.as_ref().map_or("", |column| cell(column, check_gtin));
        let gtin = (!gtin.is_empty()).then(|| gtin.to_owned());
        let mut attributes = Attributes::new();
        for column in &self.attributes {
            let value = cell(column, check_value);
            if !value.is_empty() {
                attributes.insert(column.name.clone(), value.to_owned());
            }
        }
        if problems.is_empty() { Ok(NewSku { code, name, gtin, attributes }) } else { Err(problems) }
    }
}

/// A file that cannot be imported at all.
pub(super) fn refused(message: impl Into<String>) -> Problem {
    Problem::new(ErrorReason::FileRefused, message)
}

fn text<'a>(record: Record<'a>, index: usize) -> Result<&'a str, String> {
    str::from_utf8(record.get(index).unwrap_or_default())
        .map_err(|error| format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1))
}

fn check_code(text: &str) -> Option<String> {
    complaint(|violations, field| {
        violations.check_sku(field, text);
    })
}

fn check_name(text: &str) -> Option<String> {
    complaint(|violations, field| rules::check_name(violations, field, text))
}

fn check_gtin(text: &str) -> Option<String> {
    complaint(|violations, field| rules::check_gtin(violations, field, text))
}

fn check_value(text: &str) -> Option<String> {
    complaint(|violations, field| {
        violations.check_text(field, text, 0..=rules::ATTRIBUTE_VALUE_BYTES_MAX);
    })
}

/// Names as they may stand in a message: quoted, cut when they are long or many.
fn quoted(names: &[impl AsRef<str>]) -> String {
    let cut = |name: &str| format!("{:?}", name.chars().take(COLUMN_CHARS_MAX).collect::<String>());
    let listed: Vec<String> = names.iter().take(COLUMNS_NAMED_MAX).map(|name| cut(name.as_ref())).collect();
    let more = if names.len() > COLUMNS_NAMED_MAX {
        format!(" and {} more", names.len() - COLUMNS_NAMED_MAX)
    } else {
        String::new()
    };
    format!("{}{more}", listed.join(", "))
}

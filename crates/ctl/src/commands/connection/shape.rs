//! How a feed's files look and where they come from, as flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_client::api::vendorsync::v1::{CsvSchema, DropFolder, FeedMode, HttpPull, JsonSchema, QuantityMeaning};

use crate::failure::Failure;
use crate::files::{self, CsvFile, JsonFile, Meaning};
use crate::parse;

/// What a SKU's absence from a file means.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    /// Absent is gone.
    Full,
    /// Absent is unchanged.
    Partial,
}

impl Mode {
    pub(super) fn proto(self) -> FeedMode {
        match self {
            Self::Full => FeedMode::Full,
            Self::Partial => FeedMode::Partial,
        }
    }
}

/// What a vendor's numbers mean.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Means {
    /// Everything on the shelf, our unshipped orders included.
    OnHand,
    /// The vendor has taken off the orders that it booked.
    Available,
}

impl From<Means> for QuantityMeaning {
    fn from(means: Means) -> Self {
        match means {
            Means::OnHand => Self::OnHand,
            Means::Available => Self::Available,
        }
    }
}

impl From<Meaning> for QuantityMeaning {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::OnHand => Self::OnHand,
            Meaning::Available => Self::Available,
        }
    }
}

/// How files look: as an example does, or as is said.
#[derive(Debug, Args)]
pub(crate) struct Shape {
    /// A file as the vendor sends it, CSV or JSON: header, delimiter, columns or keys are taken from it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["header", "json_key"])]
    like: Option<PathBuf>,
    /// CSV without an example: the header's columns, separated by commas.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "json_key", requires_all = ["key_column", "quantity_column"])]
    header: Vec<String>,
    /// CSV without an example: the delimiter, one character.
    #[arg(long, requires = "header", default_value = ",", value_name = "CHARACTER")]
    delimiter: char,
    /// The column (in JSON the key, with '.' for nested ones) with the vendor's code, where the example does not tell.
    #[arg(long, value_name = "COLUMN")]
    key_column: Option<String>,
    /// The column or key with the quantity, where the example does not tell.
    #[arg(long, value_name = "COLUMN")]
    quantity_column: Option<String>,
    /// JSON without an example: the key with the vendor's code.
    #[arg(long, value_name = "KEY", requires = "json_quantity")]
    json_key: Option<String>,
    /// JSON without an example: the key with the quantity.
    #[arg(long, value_name = "KEY", requires = "json_key")]
    json_quantity: Option<String>,
    /// JSON without an example: where the array of rows is, keys with '.' between them. Without it, the document is the array.
    #[arg(long, value_name = "PATH", requires = "json_key", default_value = "", hide_default_value = true)]
    json_rows: String,
    /// JSON without an example: one object a line.
    #[arg(long, requires = "json_key", conflicts_with = "json_rows")]
    json_lines: bool,
}

/// How files look, and what their numbers seem to mean.
pub(super) struct Read {
    pub(super) csv: Option<CsvSchema>,
    pub(super) json: Option<JsonSchema>,
    pub(super) suggested: QuantityMeaning,
}

impl Shape {
    /// What the flags say; nothing if they say nothing.
    pub(super) fn read(self) -> Result<Option<Read>, Failure> {
        if let Some(path) = &self.like {
            let (name, bytes) = files::open(path)?;
            let read = if files::is_json(&bytes) {
                self.like_json(&JsonFile::from_bytes(name, bytes)?)?
            } else {
                self.like_csv(&CsvFile::from_bytes(name, bytes)?)?
            };
            return Ok(Some(read));
        }
        if let (Some(key_field), Some(quantity_field)) = (self.json_key, self.json_quantity) {
            let schema =
                JsonSchema { rows_path: self.json_rows, key_field, quantity_field, json_lines: self.json_lines };
            return Ok(Some(Read { csv: None, json: Some(schema), suggested: QuantityMeaning::OnHand }));
        }
        if self.header.is_empty() {
            let named = self.key_column.is_some() || self.quantity_column.is_some();
            let words = "--key-column and --quantity-column go with --like or --header: the whole header is registered";
            return if named { Err(Failure::Usage(words.to_owned())) } else { Ok(None) };
        }
        let schema = CsvSchema {
            delimiter: self.delimiter.to_string(),
            header: self.header,
            key_column: self.key_column.unwrap_or_default(),
            quantity_column: self.quantity_column.unwrap_or_default(),
        };
        Ok(Some(Read { csv: Some(schema), json: None, suggested: QuantityMeaning::OnHand }))
    }

    fn like_csv(&self, file: &CsvFile) -> Result<Read, Failure> {
        self.check(file.name(), file.header())?;
        let columns = file.stock_columns_with(self.key_column.as_deref(), self.quantity_column.as_deref())?;
        let schema = CsvSchema {
            delimiter: file.delimiter().to_string(),
            header: file.header().to_vec(),
            key_column: columns.key,
            quantity_column: columns.quantity,
        };
        Ok(Read { csv: Some(schema), json: None, suggested: columns.meaning.into() })
    }

    fn like_json(&self, file: &JsonFile) -> Result<Read, Failure> {
        self.check(file.name(), file.fields())?;
        let columns = file.stock_columns_with(self.key_column.as_deref(), self.quantity_column.as_deref())?;
        let schema = JsonSchema {
            rows_path: file.rows_path().to_owned(),
            key_field: columns.key,
            quantity_field: columns.quantity,
            json_lines: file.is_lines(),
        };
        Ok(Read { csv: None, json: Some(schema), suggested: columns.meaning.into() })
    }

    /// What a person named has to be there.
    fn check(&self, name: &str, there: &[String]) -> Result<(), Failure> {
        for column in [&self.key_column, &self.quantity_column].into_iter().flatten() {
            if !there.contains(column) {
                return Err(Failure::Usage(format!("{name} has no {column:?}; it has {}", there.join(", "))));
            }
        }
        Ok(())
    }
}

/// How often the vendor promises a number.
#[derive(Debug, Args)]
pub(crate) struct Cadence {
    /// How often the vendor promises a number, for example 15m, 1h or 1d: at twice that its stock counts as late, at four times it is not offered any more.
    /// none (and for a new connection, without the flag): nothing is promised, its numbers do not age.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_or_none)]
    cadence: Option<parse::OrNone<Duration>>,
}

impl Cadence {
    /// What was said, if anything was.
    #[expect(clippy::option_option, reason = "not given, none, and a duration are three things")]
    pub(super) fn value(&self) -> Option<Option<prost_types::Duration>> {
        self.cadence.as_ref().map(|cadence| cadence.as_ref().copied().map(parse::proto_duration))
    }
}

/// What a vendor's numbers know of our orders, and when.
#[derive(Debug, Args)]
pub(crate) struct Clock {
    /// How far the vendor's clock may be from ours, for example 5m: added to our time of receipt where the vendor does not say when it booked or shipped. none: not
    /// at all.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_or_none)]
    clock_margin: Option<parse::OrNone<Duration>>,
    /// How long after an order was sent the vendor's numbers are without it at the latest, where nothing says when, for example 1d. none: that is never taken for
    /// granted.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration_or_none)]
    reflection_lag: Option<parse::OrNone<Duration>>,
}

impl Clock {
    /// What was said of the margin, if anything was.
    #[expect(clippy::option_option, reason = "not given, none, and a duration are three things")]
    pub(super) fn margin(&self) -> Option<Option<prost_types::Duration>> {
        self.clock_margin.as_ref().map(|margin| margin.as_ref().copied().map(parse::proto_duration))
    }

    /// What was said of the lag, if anything was.
    #[expect(clippy::option_option, reason = "not given, none, and a duration are three things")]
    pub(super) fn lag(&self) -> Option<Option<prost_types::Duration>> {
        self.reflection_lag.as_ref().map(|lag| lag.as_ref().copied().map(parse::proto_duration))
    }
}

/// Where files come from, beside uploads.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Take files from this folder, below the drop root of the service's configuration.
    #[arg(long, value_name = "FOLDER", conflicts_with = "pull")]
    drop_folder: Option<String>,
    /// Which files of the folder: a pattern with '*' and '?'. Without it, all.
    #[arg(long, value_name = "PATTERN", requires = "drop_folder", default_value = "", hide_default_value = true)]
    pattern: String,
    /// A file is complete when one with its name and this suffix lies beside it, for example .done. Without it, when it stopped changing.
    #[arg(long, value_name = "SUFFIX", requires = "drop_folder", default_value = "", hide_default_value = true)]
    done_suffix: String,
    /// Fetch files from this address, http or https.
    #[arg(long, value_name = "URL", requires = "every")]
    pull: Option<String>,
    /// How often to fetch, for example 15m.
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, requires = "pull")]
    every: Option<Duration>,
    /// The name of a credential in the service's configuration, to be sent along.
    #[arg(long, value_name = "NAME", requires = "pull", default_value = "", hide_default_value = true)]
    credential: String,
}

impl Source {
    pub(super) fn folder(&self) -> Option<DropFolder> {
        self.drop_folder.as_ref().map(|path| DropFolder {
            path: path.clone(),
            pattern: self.pattern.clone(),
            done_suffix: self.done_suffix.clone(),
        })
    }

    pub(super) fn pull(&self) -> Option<HttpPull> {
        self.pull.as_ref().map(|url| HttpPull {
            url: url.clone(),
            interval: self.every.map(parse::proto_duration),
            credential: self.credential.clone(),
        })
    }
}

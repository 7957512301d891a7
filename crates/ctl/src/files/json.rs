//! JSON files: where their rows are, and under which keys.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{FileError, Row, columns};

/// Rows that are looked at.
const ROWS_SAMPLED: usize = 1_000;

/// How deep keys may be nested, of the rows and within them.
const DEPTH_MAX: usize = 6;

/// A JSON file: a document with an array of objects in it, or one object a line.
#[derive(Debug, Clone)]
pub struct JsonFile {
    pub(super) name: String,
    bytes: Bytes,
    rows_path: String,
    is_lines: bool,
    /// The keys of the rows' values, nested ones with `.` between them.
    pub(super) fields: Vec<String>,
    /// The first rows, a cell for each of the fields.
    pub(super) rows: Vec<Row>,
}

impl JsonFile {
    /// Takes a file's bytes, uncompressed, and finds its rows.
    ///
    /// # Errors
    /// [`FileError::NotJson`] if they are no JSON, or nothing in it looks like rows.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Bytes>) -> Result<Self, FileError> {
        let (name, bytes) = (name.into(), bytes.into());
        let found = super::text_of(&bytes).and_then(find_rows);
        match found {
            Ok(Found { rows_path, is_lines, objects }) => {
                let (fields, rows) = table(&objects);
                Ok(Self { name, bytes, rows_path, is_lines, fields, rows })
            }
            Err(problem) => Err(FileError::NotJson { name, problem }),
        }
    }

    /// What the file is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's bytes, uncompressed, otherwise as they are.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Where the array with the rows is: keys with `.` between them; empty if the document is the array, or there is one object a line.
    pub fn rows_path(&self) -> &str {
        &self.rows_path
    }

    /// True for one object a line.
    pub fn is_lines(&self) -> bool {
        self.is_lines
    }

    /// The keys of the rows' values, nested ones with `.` between them.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }
}

struct Found {
    rows_path: String,
    is_lines: bool,
    objects: Vec<Map<String, Value>>,
}

fn find_rows(text: &str) -> Result<Found, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(document) => within(&document),
        Err(error) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(ROWS_SAMPLED);
            let objects: Vec<_> = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
            // A document that is cut off begins with a line that is no object.
            if objects.is_empty() {
                Err(error.to_string())
            } else {
                Ok(Found { rows_path: String::new(), is_lines: true, objects })
            }
        }
    }
}

/// The array of a document that looks most like stock: the longest with a code and a quantity, or else the longest.
fn within(document: &Value) -> Result<Found, String> {
    let mut arrays = Vec::new();
    collect(document, &mut Vec::new(), &mut arrays);
    if let (true, Value::Object(object)) = (arrays.is_empty(), document) {
        return Ok(Found { rows_path: String::new(), is_lines: true, objects: vec![object.clone()] });
    }
    arrays.sort_by_key(|(_, items)| std::cmp::Reverse(items.len()));
    let sample = |items: &[Value]| -> Vec<_> {
        items.iter().take(ROWS_SAMPLED).filter_map(|item| item.as_object().cloned()).collect()
    };
    let is_stock = |items: &[Value]| {
        let (fields, rows) = table(&sample(items));
        columns::is_stock(&fields, &rows)
    };
    let best = arrays.iter().find(|(_, items)| is_stock(items)).or(arrays.first());
    let (rows_path, items) = best.ok_or("there is no array of objects in it")?;
    Ok(Found { rows_path: rows_path.clone(), is_lines: false, objects: sample(items) })
}

/// All arrays of objects that a path of keys leads to.
fn collect<'a>(value: &'a Value, path: &mut Vec<&'a str>, arrays: &mut Vec<(String, &'a [Value])>) {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            arrays.push((path.join("."), items));
        }
        Value::Object(fields) if path.len() < DEPTH_MAX => {
            for (key, value) in fields.iter().filter(|(key, _)| can_be_in_a_path(key)) {
                path.push(key);
                collect(value, path, arrays);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Objects as a table: their keys as a header, in the order in which they are met, and a cell for each.
fn table(objects: &[Map<String, Value>]) -> (Vec<String>, Vec<Row>) {
    let mut fields: Vec<String> = Vec::new();
    let mut rows = Vec::with_capacity(objects.len());
    for (line, object) in (1..).zip(objects) {
        let mut cells = vec![String::new(); fields.len()];
        scalars(object, "", 1, &mut |path, text| match fields.iter().position(|field| *field == path) {
            Some(field) => cells[field] = text,
            None => {
                fields.push(path);
                cells.push(text);
            }
        });
        rows.push(Row { line, cells });
    }
    (fields, rows)
}

fn scalars(object: &Map<String, Value>, above: &str, depth: usize, tell: &mut impl FnMut(String, String)) {
    for (key, value) in object.iter().filter(|(key, _)| can_be_in_a_path(key)) {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match value {
            Value::String(text) => tell(path, text.clone()),
            Value::Number(_) | Value::Bool(_) => tell(path, value.to_string()),
            Value::Null => tell(path, String::new()),
            Value::Object(inner) if depth < DEPTH_MAX => scalars(inner, &path, depth + 1, tell),
            Value::Object(_) | Value::Array(_) => {}
        }
    }
}

fn can_be_in_a_path(key: &str) -> bool {
    !key.is_empty() && !key.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> JsonFile {
        JsonFile::from_bytes("x.json", text.to_owned()).unwrap()
    }

    fn told(text: &str) -> (String, bool, String, String) {
        let file = file(text);
        let columns = file.stock_columns().unwrap();
        (file.rows_path().to_owned(), file.is_lines(), columns.key, columns.quantity)
    }

    fn expected(rows_path: &str, is_lines: bool, key: &str, quantity: &str) -> (String, bool, String, String) {
        (rows_path.to_owned(), is_lines, key.to_owned(), quantity.to_owned())
    }

    #[test]
    fn rows_are_found_at_the_top_deep_inside_and_line_by_line() {
        assert_eq!(
            told(r#"[{"sku": "A", "stock": 3}, {"sku": "B", "stock": 4}]"#),
            expected("", false, "sku", "stock")
        );
        let deep = r#"{"code": 200, "data": {"page": {"list": [{"sku": "A", "stock": {"qty": 3}}]}, "more": []}}"#;
        assert_eq!(told(deep), expected("data.page.list", false, "sku", "stock.qty"));
        assert_eq!(
            told("{\"sku\": \"A\", \"qty\": 1}\n{\"sku\": \"B\", \"qty\": 2}\n"),
            expected("", true, "sku", "qty")
        );
        assert_eq!(told(r#"{"sku": "A", "qty": 1}"#), expected("", true, "sku", "qty"));
    }

    #[test]
    fn of_several_arrays_the_one_with_codes_and_quantities_is_taken_even_if_it_is_shorter() {
        let text = r#"{"facets": [{"name": "x"}, {"name": "y"}, {"name": "z"}], "items": [{"sku": "A", "stock": 1}]}"#;
        assert_eq!(file(text).rows_path(), "items");
    }

    #[test]
    fn what_has_no_rows_is_said_to_be_so() {
        for (text, says) in
            [("[1, 2]", "no array of objects"), ("[{\"sku\": \"A\"}", "EOF"), ("", "empty"), ("<a/>", "expected value")]
        {
            let error = JsonFile::from_bytes("x.json", text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn products_have_columns_in_json_lines_too_but_not_nested_ones() {
        let text = "{\"sku\": \"A\", \"name\": \"Chair\", \"size\": {\"cm\": 3}, \"safety_stock\": 2, \"colour\": \"red\"}\n\
                    {\"sku\": \"B\", \"name\": null, \"colour\": \"blue\", \"weight\": 1.5}\n";
        let columns = file(text).catalog_columns().unwrap();
        assert_eq!((columns.code.as_str(), columns.name.as_deref()), ("sku", Some("name")));
        assert_eq!(columns.policy.safety_stock, "safety_stock");
        assert_eq!(columns.attributes, ["colour", "weight"]);
    }

    #[test]
    fn real_files_are_understood() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/json_parts/response1.json.gz");
        if !path.is_file() {
            eprintln!("skipped: the folder with real files is not there");
            return;
        }
        let (name, bytes) = super::super::open(&path).unwrap();
        assert!(super::super::is_json(&bytes));
        let file = JsonFile::from_bytes(name, bytes).unwrap();
        assert_eq!(file.rows_path(), "data.componentPageInfo.list");
        let columns = file.stock_columns().unwrap();
        assert_eq!((columns.key.as_str(), columns.quantity.as_str()), ("componentCode", "stockCount"));
    }
}

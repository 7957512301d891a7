//! Random passwords of the private stores, made once and kept in the project's state folder for its owner only.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use rand::Rng;

use crate::error::{Result, StackError};
use crate::project::write_private;

/// Passwords and tokens by name.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Reads the secrets in `path`, making those of `names` that are not there yet.
    ///
    /// # Errors
    ///
    /// [`StackError::NotWritable`] when new ones cannot be kept, [`StackError::Io`] when the file cannot be read.
    pub fn load_or_make(path: &Path, names: &[String]) -> Result<Self> {
        let reading = |error| StackError::io(format!("reading {}", path.display()), error);
        let mut secrets: BTreeMap<String, String> = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| reading(error.into()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(reading(error)),
        };
        let missing: Vec<&String> = names.iter().filter(|name| !secrets.contains_key(*name)).collect();
        if !missing.is_empty() {
            secrets.extend(missing.into_iter().map(|name| (name.clone(), random_secret())));
            let text = serde_json::to_string_pretty(&secrets).map_err(|error| reading(error.into()))?;
            write_private(path, &text)?;
        }
        Ok(Self(secrets))
    }

    /// The secret of that name; empty when it was never made.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// 192 random bits as 48 hexadecimal digits: safe in URLs, SQL strings and configuration files alike.
pub fn random_secret() -> String {
    let bytes: [u8; 24] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Configuration: commented defaults embedded in the binary, overlaid by a file and by the environment.
//!
//! A key that no default names is an error, so the default text is the complete documentation, and a typing mistake never silently means the default.
//! A service's text is read after [`COMMON_DEFAULTS`] and may override keys of the common sections, with a comment of its own.

mod layers;
mod render;
mod sections;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub(crate) use layers::without_line_end;
pub use sections::{Common, LogFormat, MigrationConfig, PostgresConfig, ServerConfig, TelemetryConfig};

/// The commented defaults of the sections that every service has.
pub const COMMON_DEFAULTS: &str = include_str!("common.default.toml");

/// A service's configuration.
pub trait ServiceConfig: DeserializeOwned + AsRef<Common> {
    /// The service's own commented defaults: `include_str!("../config.default.toml")`. Keys of common sections may be overridden there.
    const DEFAULTS: &'static str;
    /// What its environment variables begin with: `HOLDFAST_RESERVATION`. `…__SECTION__KEY` sets a key, `…_CONFIG` names the file.
    const ENV_PREFIX: &'static str;
    /// Files of secrets (`gate.password_file`) whose path the service is given besides their content, because it reads them again when the secret may have changed.
    const FILES_READ_AGAIN: &'static [&'static str] = &[];

    /// What is wrong with the service's own sections, relations between numbers included, a sentence each. The process refuses to start with any, and
    /// says all of them. The common sections are checked by kit.
    fn problems(&self) -> Vec<String>;
}

/// A configuration that cannot be used. Nothing has been started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("the configuration file {} is not TOML: {message}", path.display())]
    NotToml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// Keys or values are wrong: all of them.
    #[error("the configuration cannot be used:\n  - {}", .0.join("\n  - "))]
    Refused(Vec<String>),
    /// The embedded defaults themselves are wrong; tests notice.
    #[error("the embedded defaults are wrong: {0}")]
    Defaults(String),
}

/// Reads the configuration: defaults, then `file`, then the environment.
///
/// # Errors
/// When a file cannot be read or is not TOML; when keys are unknown or values have the wrong type, all at once; when [`ServiceConfig::problems`] or
/// [`Common::problems`] has something to say.
pub fn load<C: ServiceConfig>(file: Option<&Path>) -> Result<C, ConfigError> {
    load_with(file, std::env::vars_os())
}

/// [`load`] with a given environment, for tests.
///
/// # Errors
/// As [`load`].
pub fn load_with<C: ServiceConfig>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<C, ConfigError> {
    let config: C = filled(layers::merged::<C>(file, environment)?.effective, C::FILES_READ_AGAIN)?;
    let mut problems = config.as_ref().problems();
    problems.extend(config.problems());
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Refused(problems)) }
}

/// [`load`] for migrations, which speak to Postgres and write a log: nothing else need be said, and no other secret need be there. What is said all the same must
/// be keys that there are.
///
/// # Errors
/// As [`load`], without what is wrong with values of other sections.
pub fn load_for_migrations<C: ServiceConfig>(file: Option<&Path>) -> Result<MigrationConfig, ConfigError> {
    load_for_migrations_with::<C>(file, std::env::vars_os())
}

/// [`load_for_migrations`] with a given environment, for tests.
///
/// # Errors
/// As [`load_for_migrations`].
pub fn load_for_migrations_with<C: ServiceConfig>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<MigrationConfig, ConfigError> {
    let mut table = layers::merged::<C>(file, environment)?.effective;
    table.retain(|section, _| MigrationConfig::SECTIONS.contains(&section));
    let config: MigrationConfig = filled(table, &[])?;
    let problems = config.problems();
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Refused(problems)) }
}

/// The configuration with secrets instead of their files' names.
fn filled<T: DeserializeOwned>(mut table: toml::Table, read_again: &[&str]) -> Result<T, ConfigError> {
    layers::read_secret_files(&mut table, read_again).map_err(ConfigError::Refused)?;
    let refused = |error: toml::de::Error| ConfigError::Refused(vec![error.to_string()]);
    toml::Value::Table(table).try_into().map_err(refused)
}

/// The effective configuration as TOML with the defaults' comments, secrets masked. What [`ServiceConfig::problems`] says is not looked at, so that an
/// operator can see the numbers that are complained of.
///
/// # Errors
/// When a file cannot be read or is not TOML, keys are unknown or values have the wrong type.
pub fn render<C: ServiceConfig>(file: Option<&Path>) -> Result<String, ConfigError> {
    render_with::<C>(file, std::env::vars_os())
}

/// [`render`] with a given environment, for tests.
///
/// # Errors
/// As [`render`].
pub fn render_with<C: ServiceConfig>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<String, ConfigError> {
    let merged = layers::merged::<C>(file, environment)?;
    Ok(render::text(C::DEFAULTS, &merged.effective))
}

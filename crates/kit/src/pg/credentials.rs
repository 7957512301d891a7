//! Who connects to Postgres: URLs with users and passwords laid over them, and files that change while the service runs.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::time::{MissedTickBehavior, interval};

use super::ConnectError;
use crate::config::{PostgresConfig, without_line_end};

/// How often files with credentials are looked at. Operators write the new password at about the time that the old one ends, so this is short; a look is one
/// read of a small file.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// The running role.
pub(super) fn running(config: &PostgresConfig) -> Result<PgConnectOptions, ConnectError> {
    Ok(laid_over(options(&config.url, "url")?, &config.user, &config.password))
}

/// The role that owns the schema. Its files are read here, so that only `migrate` needs them.
pub(super) fn owning(config: &PostgresConfig) -> Result<PgConnectOptions, ConnectError> {
    let from_file = |key, file: &Path, given: &SecretString| {
        if file.as_os_str().is_empty() {
            return Ok(given.clone());
        }
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|source| ConnectError::File { key, path: file.to_owned(), source })?;
        Ok(SecretString::from(without_line_end(&text)))
    };
    let url = from_file("migrate_url_file", &config.migrate_url_file, &config.migrate_url)?;
    let password = from_file("migrate_password_file", &config.migrate_password_file, &config.migrate_password)?;
    let base = if url.expose_secret().is_empty() { running(config)? } else { options(&url, "migrate_url")? };
    Ok(laid_over(base, &config.migrate_user, &password))
}

fn laid_over(mut options: PgConnectOptions, user: &str, password: &SecretString) -> PgConnectOptions {
    if !user.is_empty() {
        options = options.username(user);
    }
    if !password.expose_secret().is_empty() {
        options = options.password(password.expose_secret());
    }
    options
}

fn options(url: &SecretString, key: &'static str) -> Result<PgConnectOptions, ConnectError> {
    PgConnectOptions::from_str(url.expose_secret())
        .map_err(|error| ConnectError::Url { key, message: error.to_string() })
}

/// The configuration with what its files of the running role say now. A file that is empty is being written: what was there before holds.
pub(super) async fn read_again(config: &PostgresConfig) -> std::io::Result<PostgresConfig> {
    let mut now = config.clone();
    for (file, secret) in [(&config.url_file, &mut now.url), (&config.password_file, &mut now.password)] {
        if file.as_os_str().is_empty() {
            continue;
        }
        let text = tokio::fs::read_to_string(file).await?;
        let text = without_line_end(&text);
        if !text.is_empty() {
            *secret = SecretString::from(text);
        }
    }
    Ok(now)
}

/// Lets the pool's next connections have what the files say then, until the pool is closed. Connections that are open stay: Postgres asks for a password only when
/// one is made.
pub(super) fn follow_files(
    pool: &PgPool,
    config: &PostgresConfig,
    finish: impl Fn(PgConnectOptions) -> PgConnectOptions + Send + 'static,
) {
    if config.url_file.as_os_str().is_empty() && config.password_file.as_os_str().is_empty() {
        return;
    }
    let (pool, mut config) = (pool.clone(), config.clone());
    tokio::spawn(async move {
        let mut ticks = interval(LOOK_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut readable = true;
        let mut closed = pool.close_event();
        loop {
            tokio::select! {
                () = &mut closed => return,
                _ = ticks.tick() => {}
            }
            let now = match read_again(&config).await {
                Ok(now) => now,
                Err(error) => {
                    if std::mem::replace(&mut readable, false) {
                        tracing::warn!(%error, "a file with Postgres's credentials cannot be read; the last ones hold");
                    }
                    continue;
                }
            };
            readable = true;
            if same(&now.url, &config.url) && same(&now.password, &config.password) {
                continue;
            }
            match running(&now) {
                Ok(options) => {
                    tracing::info!("Postgres's credentials have changed: new connections have the new ones");
                    pool.set_connect_options(finish(options));
                }
                Err(error) => tracing::warn!(%error, "Postgres's new credentials cannot be used; the last ones hold"),
            }
            config = now;
        }
    });
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

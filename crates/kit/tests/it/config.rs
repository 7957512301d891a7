//! Layers of configuration, and how they are printed.

use std::ffi::OsString;
use std::path::Path;

use holdfast_kit::config::{load_for_migrations_with, load_with, render_with};
use holdfast_kit::{Common, ConfigError, Role, ServiceConfig};
use secrecy::{ExposeSecret as _, SecretString};

#[derive(Debug, serde::Deserialize)]
struct Config {
    #[serde(flatten)]
    common: Common,
    oven: Oven,
}

#[derive(Debug, serde::Deserialize)]
struct Oven {
    heat_max: u32,
    share: f64,
    name: String,
    sizes: Vec<u32>,
    key: SecretString,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl ServiceConfig for Config {
    const DEFAULTS: &'static str = r#"
[server]
# Trays are large.
message_bytes_max = 131072

[oven]
# How hot. Too low: raw. Too high: black.
heat_max = 220
share = 0.5
name = "big"
# One for each rack.
sizes = [
    1,
    2,
]
key = ""
key_file = ""
"#;
    const ENV_PREFIX: &'static str = "BAKERY";

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.oven.heat_max > 300 {
            problems.push(format!("oven.heat_max must be at most 300, is {}", self.oven.heat_max));
        }
        problems
    }
}

const URL: (&str, &str) = ("BAKERY__POSTGRES__URL", "postgres://baker:sesame@db:5432/bakery?sslmode=require");

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    with_file(file, |path| load_with(path, environment(variables)))
}

fn render(file: Option<&str>, variables: &[(&str, &str)]) -> String {
    with_file(file, |path| render_with::<Config>(path, environment(variables))).unwrap()
}

fn with_file<T>(text: Option<&str>, run: impl FnOnce(Option<&Path>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    if let Some(text) = text {
        std::fs::write(&path, text).unwrap();
    }
    run(text.map(|_| &*path))
}

fn complaints(error: ConfigError) -> Vec<String> {
    match error {
        ConfigError::Refused(problems) => problems,
        other => panic!("{other}"),
    }
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = "[oven]\nheat_max = 200\nname = \"small\"\n[server]\ndrain_seconds_max = 7";
    let config = load(Some(file), &[URL, ("BAKERY__OVEN__HEAT_MAX", "180")]).unwrap();
    assert_eq!((config.oven.heat_max, config.oven.name.as_str(), config.oven.share), (180, "small", 0.5));
    assert_eq!((config.common.server.drain_seconds_max, config.common.server.message_bytes_max), (7, 131_072));
}

#[test]
fn variables_take_the_defaults_type() {
    let variables = [
        URL,
        ("BAKERY__OVEN__SHARE", "1"),
        ("BAKERY__OVEN__NAME", "007"),
        ("BAKERY__OVEN__SIZES", "[4, 5]"),
        ("BAKERY__CALLERS__UNAUTHENTICATED_ROLES", r#"["operator"]"#),
        ("BAKERY__CALLERS__LIST", r#"[{name = "shop", roles = ["vendor-sync"], token = "0123456789abcdef"}]"#),
        ("BAKERY__SERVER__GRPC_LISTEN", "127.0.0.1:7000"),
        // Kubernetes sets such for a Service called bakery; one underscore is not ours.
        ("BAKERY_PORT", "tcp://10.0.0.1:7000"),
    ];
    let config = load(None, &variables).unwrap();
    assert_eq!((config.oven.share, config.oven.name.as_str(), &config.oven.sizes[..]), (1.0, "007", &[4, 5][..]));
    assert_eq!(config.common.callers.unauthenticated_roles, [Role::Operator]);
    assert_eq!(config.common.callers.list[0].roles, [Role::VendorSync]);
    assert_eq!(config.common.server.grpc_listen.port(), 7000);
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_the_nearest_key() {
    let file = "[oven]\nheat_mx = 1\nshare = \"much\"\n[sever]\ndrain_seconds_max = 1";
    let problems = complaints(load(Some(file), &[URL, ("BAKERY__OVEN__HEATMAX", "1")]).unwrap_err());
    assert_eq!(problems.len(), 4, "{problems:#?}");
    let said = |text: &str| problems.iter().any(|problem| problem.contains(text));
    assert!(said("there is no key oven.heat_mx; did you mean oven.heat_max?"), "{problems:#?}");
    assert!(said("oven.share must be of type float, is string"), "{problems:#?}");
    assert!(said("there is no key sever"), "{problems:#?}");
    assert!(said("the environment: there is no key oven.heatmax; did you mean oven.heat_max?"), "{problems:#?}");
}

#[test]
fn a_misspelt_key_of_a_caller_is_an_error() {
    let file = "[[callers.list]]\nname = \"shop\"\nrole = [\"checkout\"]\ntoken = \"0123456789abcdef\"";
    let problems = complaints(load(Some(file), &[URL]).unwrap_err());
    assert!(problems[0].contains("role"), "{problems:#?}");
}

#[test]
fn relations_between_numbers_are_checked_all_at_once() {
    let variables = [
        ("BAKERY__SERVER__DEADLINE_DEFAULT_MS", "90000"),
        ("BAKERY__SERVER__MESSAGE_BYTES_MAX", "99999999"),
        ("BAKERY__POSTGRES__LOCK_TIMEOUT_MS", "99000"),
        ("BAKERY__TELEMETRY__SAMPLING_RATIO", "2.0"),
        ("BAKERY__TELEMETRY__LOG_FILTER", "=,="),
        ("BAKERY__CALLERS__LIST", r#"[{name = "shop", roles = [], token = "short"}]"#),
        ("BAKERY__OVEN__HEAT_MAX", "301"),
    ];
    let problems = complaints(load(None, &variables).unwrap_err());
    let keys = [
        "deadline_default_ms",
        "message_bytes_max",
        "postgres.url",
        "lock_timeout_ms",
        "sampling_ratio",
        "log_filter",
        "shop",
        "heat_max",
    ];
    for key in keys {
        assert!(problems.iter().any(|problem| problem.contains(key)), "{key}: {problems:#?}");
    }
    assert_eq!(problems.len(), keys.len(), "{problems:#?}");
}

#[test]
fn callers_that_cannot_be_told_apart_are_refused() {
    for (one, other) in [("a", "b"), ("a", "a")] {
        let list = format!(
            r#"[{{name = "{one}", roles = [], token = "0123456789abcdef"}}, {{name = "{other}", roles = [], token = "0123456789abcdef"}}]"#
        );
        let problems = complaints(load(None, &[URL, ("BAKERY__CALLERS__LIST", &list)]).unwrap_err());
        assert!(problems[0].starts_with("callers: "), "{problems:#?}");
    }
}

#[test]
fn secrets_come_from_files_without_their_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "open sesame 16 bytes\n").unwrap();
    let path = path.to_str().unwrap();
    let list = format!(r#"[{{name = "shop", roles = ["checkout"], token_file = "{path}"}}]"#);
    let config = load(None, &[URL, ("BAKERY__OVEN__KEY_FILE", path), ("BAKERY__CALLERS__LIST", &list)]).unwrap();
    assert_eq!(config.oven.key.expose_secret(), "open sesame 16 bytes");
    assert_eq!(config.common.callers.list[0].token.expose_secret(), "open sesame 16 bytes");

    let problems = complaints(load(None, &[URL, ("BAKERY__OVEN__KEY_FILE", "/no/such/file")]).unwrap_err());
    assert!(problems[0].contains("oven.key_file: cannot read /no/such/file"), "{problems:#?}");
}

#[test]
fn the_files_of_postgres_are_remembered_and_those_of_migrate_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let variables = [
        ("BAKERY__POSTGRES__URL", "postgres://db:5432/bakery"),
        ("BAKERY__POSTGRES__USER", "baker"),
        ("BAKERY__POSTGRES__PASSWORD_FILE", file.to_str().unwrap()),
        ("BAKERY__POSTGRES__MIGRATE_PASSWORD_FILE", "/no/such/file"),
        ("BAKERY__POSTGRES__MIGRATE_URL_FILE", "/no/such/url"),
    ];
    let postgres = load(None, &variables).unwrap().common.postgres;
    assert_eq!((postgres.user.as_str(), postgres.password.expose_secret()), ("baker", "sesame"));
    assert_eq!((postgres.password_file.as_path(), postgres.url_file.as_os_str().len()), (file.as_path(), 0));
    assert_eq!(postgres.migrate_password_file, Path::new("/no/such/file"));
    let text = render(None, &variables);
    assert!(text.contains("user = \"baker\"") && !text.contains("sesame"), "{text}");
    let missing = load(None, &[URL, ("BAKERY__POSTGRES__PASSWORD_FILE", "/no/such/file")]).unwrap_err();
    assert!(missing.to_string().contains("postgres.password_file: cannot read /no/such/file"), "{missing}");
}

#[test]
fn migrations_ask_for_no_value_and_no_file_that_only_the_service_uses() {
    let oven = [("BAKERY__OVEN__HEAT_MAX", "900"), ("BAKERY__OVEN__KEY_FILE", "/no/such/file")];
    let said = |more: &[(&str, &str)]| {
        load_for_migrations_with::<Config>(None, environment(&[oven.as_slice(), more].concat()))
    };
    assert_eq!(said(&[URL]).unwrap().postgres.url.expose_secret(), URL.1);
    let problems = complaints(said(&[("BAKERY__TELEMETRY__SAMPLING_RATIO", "2")]).unwrap_err());
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("postgres.url") && problems[1].contains("sampling_ratio"), "{problems:#?}");
    // A key that is mistyped would silently not be what was meant, wherever it is.
    let problems = complaints(said(&[URL, ("BAKERY__OVEN__HEAT_MX", "1")]).unwrap_err());
    assert!(problems[0].contains("did you mean oven.heat_max"), "{problems:#?}");
}

#[test]
fn a_later_layer_chooses_the_form_of_a_secret() {
    let config = load(Some("[oven]\nkey_file = \"/no/such/file\""), &[URL, ("BAKERY__OVEN__KEY", "sesame")]).unwrap();
    assert_eq!(config.oven.key.expose_secret(), "sesame");
    let both = load(Some("[oven]\nkey_file = \"/no/such/file\"\nkey = \"sesame\""), &[URL]);
    assert!(complaints(both.unwrap_err())[0].contains("choose one"));
}

#[test]
fn the_printed_configuration_has_the_comments_and_no_secret() {
    let list = r#"[{name = "shop", roles = ["checkout"], token = "open sesame 16 bytes"}]"#;
    let text = render(
        Some("[oven]\nkey = \"sesame\"\nheat_max = 200"),
        &[
            URL,
            ("BAKERY__CALLERS__LIST", list),
            ("BAKERY__POSTGRES__MIGRATE_URL", "postgres://db/x?user=o&password=sesame"),
        ],
    );
    assert!(!text.contains("sesame"), "{text}");
    assert!(text.contains("url = \"postgres://baker:********@db:5432/bakery?sslmode=require\""), "{text}");
    assert!(text.contains("migrate_url = \"postgres://db/x?user=o&password=********\""), "{text}");
    assert!(text.contains("# How hot. Too low: raw. Too high: black.\nheat_max = 200\n"), "{text}");
    assert!(text.contains("key = \"********\"\n"), "{text}");
    assert!(text.contains("# One for each rack.\nsizes = [1, 2]\n"), "{text}");
    // A common key that the service overrides stands once, with the service's comment.
    assert!(text.contains("# Trays are large.\nmessage_bytes_max = 131072\n"), "{text}");
    assert_eq!(text.matches("message_bytes_max =").count(), 1, "{text}");
    assert_eq!(text.matches("[server]\n").count(), 1, "{text}");
}

#[test]
fn the_printed_configuration_can_be_read_again() {
    let text = render(None, &[("BAKERY__OVEN__HEAT_MAX", "190"), ("BAKERY__SERVER__DRAIN_SECONDS_MAX", "3")]);
    let again = render(Some(&text), &[]);
    assert_eq!(text, again);
    let config = load(Some(&text), &[URL]).unwrap();
    assert_eq!((config.oven.heat_max, config.common.server.drain_seconds_max), (190, 3));
}

#[test]
fn every_common_key_has_a_comment() {
    let mut above = "";
    for line in holdfast_kit::config::COMMON_DEFAULTS.lines() {
        let key = line.split(" = ").next().unwrap();
        if line.contains(" = ") && !line.starts_with('#') && !key.ends_with("_file") {
            assert!(above.starts_with('#'), "{key} has no comment");
        }
        above = line;
    }
}

#[test]
fn a_default_configuration_exists_for_tests() {
    assert_eq!(Common::default().server.message_bytes_max, 65_536);
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_named() {
    let missing = load_with::<Config>(Some(Path::new("/no/such.toml")), environment(&[URL])).unwrap_err();
    assert!(missing.to_string().contains("/no/such.toml"), "{missing}");
    let broken = load(Some("[oven\n"), &[URL]).unwrap_err();
    assert!(matches!(broken, ConfigError::NotToml { .. }), "{broken}");
    let open = load(Some("[oven]\nkey = \"hunter2\n"), &[URL]).unwrap_err().to_string();
    assert!(open.contains("line 2, column ") && !open.contains("hunter2"), "{open}");
}

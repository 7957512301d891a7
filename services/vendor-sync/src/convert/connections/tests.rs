//! What is taken of a connection, value by value.

use super::*;

#[test]
fn only_web_addresses_without_secrets_are_taken() {
    for url in ["http://a", "https://example.com:8443/stock.csv?full=1", "http://[::1]/x", "HTTPS://A.example/ü"] {
        assert_eq!(url_problem(url), None, "{url}");
    }
    for url in [
        "",
        "a",
        "/x",
        "//a/x",
        "ftp://a/x",
        "file:///etc/passwd",
        "http://",
        "http://u@a",
        "http://u:p@a",
        "http://:p@a",
    ] {
        assert!(url_problem(url).is_some(), "{url}");
    }
}

#[test]
fn durations_are_kept_to_the_microsecond_and_within_their_limits() {
    let kept = |seconds, nanos| {
        let mut violations = Violations::new();
        duration(&mut violations, "x", prost_types::Duration { seconds, nanos }, CADENCE)
    };
    assert_eq!(kept(60, 1999), Some(Duration::new(60, 1000)));
    assert_eq!(kept(366 * 86_400, 0), Some(CADENCE.1));
    for (seconds, nanos) in [(59, 999_999_999), (0, 0), (-60, 0), (366 * 86_400, 1000), (i64::MAX, 0), (60, -1)] {
        assert_eq!(kept(seconds, nanos), None, "{seconds} {nanos}");
    }
}

#[test]
fn a_margin_of_nothing_is_none_and_seven_days_are_the_most() {
    let kept = |seconds, nanos| {
        let mut violations = Violations::new();
        let kept = clock_margin(&mut violations, Some(prost_types::Duration { seconds, nanos }));
        (kept, violations.len())
    };
    assert_eq!(kept(0, 0), (None, 0));
    assert_eq!(kept(0, 1_500), (Some(Duration::from_micros(1)), 0));
    assert_eq!(kept(7 * 86_400, 0), (Some(CLOCK_MARGIN.1), 0));
    for (seconds, nanos) in [(0, 999), (-1, 0), (7 * 86_400, 1_000), (i64::MAX, 0)] {
        assert_eq!(kept(seconds, nanos), (None, 1), "{seconds} {nanos}");
    }
}

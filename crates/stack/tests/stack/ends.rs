//! However `./dev up` ends, nothing of it is left.

use rustix::process::Signal;

use crate::runner::{Place, describe, users};

/// Itself, Postgres with its helpers, Redis and three services: the tests below would prove nothing about fewer.
const PROCESSES_MIN: usize = 10;

#[test]
fn nothing_is_left_after_ctrl_c_and_the_data_stays() {
    for user in users() {
        let place = Place::new(user);
        let running = place.up(&[]);
        assert!(running.processes().len() >= PROCESSES_MIN, "{:?}", running.processes());
        running.signal(Signal::INT);
        assert_eq!(running.ended().code(), Some(0), "{user:?}");
        assert!(place.state().join("postgres/PG_VERSION").exists());
        assert!(!place.state().join("endpoints.json").exists());
    }
}

#[test]
fn nothing_is_left_after_kill_9_and_it_starts_again() {
    for user in users() {
        let place = Place::new(user);
        let running = place.up(&[]);
        assert!(running.processes().len() >= PROCESSES_MIN, "{:?}", running.processes());
        running.signal(Signal::KILL);
        assert_eq!(running.ended().code(), None, "{user:?}");
        let again = place.up(&[]);
        again.signal(Signal::TERM);
        assert_eq!(again.ended().code(), Some(0), "{user:?}");
    }
}

#[test]
fn nothing_is_left_when_it_is_killed_while_it_starts() {
    for user in users() {
        let place = Place::new(user);
        let mut child = place.command(&["up"]).spawn().unwrap();
        // The password file is there exactly while initdb runs.
        let start = std::time::Instant::now();
        while !place.state().join("postgres.pw").exists() {
            assert!(start.elapsed().as_secs() < 60, "initdb did not start");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let again = place.up(&[]);
        again.signal(Signal::TERM);
        assert_eq!(again.ended().code(), Some(0), "{user:?}");
    }
}

#[test]
fn a_part_that_dies_ends_everything_and_is_named_with_its_log() {
    let place = Place::new(users()[0]);
    let running = place.up(&[]);
    let redis = running.processes().iter().find(|process| describe(process).contains("redis-server")).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(redis.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let (status, errors) = running.ended_with_errors();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("Redis ended by itself"), "{errors}");
    assert!(errors.contains("logs/redis.log"), "{errors}");
}

//! Deployments: so many pods of one template, and how pods of an older one give way.

use super::objects::DeploymentSpec;

/// A pod in a Deployment's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Whether it is made of the template as it is now.
    pub(super) current: bool,
    pub(super) ready: bool,
}

/// What has to happen next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// So many new pods.
    pub(super) make: usize,
    /// These end.
    pub(super) end: Vec<String>,
}

/// One step of the Deployment's controller: `members` are its pods that are not ending yet, oldest first.
pub(super) fn step(spec: &DeploymentSpec, replicas: usize, members: &[Member]) -> Step {
    let rolling = &spec.strategy.rolling_update;
    let mut most = replicas + rolling.max_surge.of(replicas, true);
    let mut away = rolling.max_unavailable.of(replicas, false);
    if most == replicas && away == 0 {
        // Kubernetes refuses two zeros; two percentages that come to zero it reads like this.
        (most, away) = (replicas, 1);
    }
    let least = replicas.saturating_sub(away);
    let current = members.iter().filter(|member| member.current).count();
    let make = replicas.saturating_sub(current).min(most.saturating_sub(members.len()));
    let mut end: Vec<&Member> = Vec::new();
    // Too many of the current ones: those that do not serve first.
    let mut own: Vec<&Member> = members.iter().filter(|member| member.current).collect();
    own.sort_by_key(|member| member.ready);
    end.extend(own.into_iter().take(current.saturating_sub(replicas)));
    // Old ones that do not serve go first, but only once there is more than has to be there; the others as far as enough are left that serve.
    let old = || members.iter().filter(|member| !member.current);
    let coming = members.iter().filter(|member| member.current && !member.ready).count();
    let spare = members.len().saturating_sub(least + coming);
    if spare == 0 {
        return Step { make, end: names(end) };
    }
    end.extend(old().filter(|member| !member.ready).take(spare));
    let serving = members.iter().filter(|member| member.ready && !end.contains(member)).count();
    end.extend(old().filter(|member| member.ready).take(serving.saturating_sub(least)));
    Step { make, end: names(end) }
}

fn names(members: Vec<&Member>) -> Vec<String> {
    members.into_iter().map(|member| member.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(surge: &serde_json::Value, unavailable: &serde_json::Value) -> DeploymentSpec {
        let json = serde_json::json!({
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "template": {"spec": {"containers": []}}});
        serde_json::from_value(json).expect("a Deployment")
    }

    /// `N` is new and ready, `n` new and not ready, `O` and `o` are old.
    fn members(text: &str) -> Vec<Member> {
        let member = |(number, letter): (usize, char)| Member {
            name: format!("{letter}{number}"),
            current: letter.eq_ignore_ascii_case(&'n'),
            ready: letter.is_uppercase(),
        };
        text.chars().enumerate().map(member).collect()
    }

    fn next(surge: usize, away: usize, replicas: usize, now: &str) -> (usize, Vec<String>) {
        let step = step(&spec(&surge.into(), &away.into()), replicas, &members(now));
        (step.make, step.end)
    }

    #[test]
    fn a_rollout_that_may_only_add_never_has_fewer_that_serve_than_before() {
        assert_eq!(next(1, 0, 2, ""), (2, vec![]));
        assert_eq!(next(1, 0, 2, "OO"), (1, vec![]));
        assert_eq!(next(1, 0, 2, "OOn"), (0, vec![]), "the new one does not serve yet");
        assert_eq!(next(1, 0, 2, "OON"), (0, vec!["O0".to_owned()]));
        assert_eq!(next(1, 0, 2, "ON"), (1, vec![]));
        assert_eq!(next(1, 0, 2, "ONN"), (0, vec!["O0".to_owned()]));
        assert_eq!(next(1, 0, 2, "NN"), (0, vec![]));
    }

    #[test]
    fn a_rollout_that_may_only_take_away_makes_room_first() {
        assert_eq!(next(0, 1, 2, "OO"), (0, vec!["O0".to_owned()]));
        assert_eq!(next(0, 1, 2, "O"), (1, vec![]));
        assert_eq!(next(0, 1, 2, "On"), (0, vec![]));
    }

    #[test]
    fn old_ones_that_do_not_serve_go_first_and_too_many_new_ones_too() {
        assert_eq!(next(1, 0, 2, "Oo"), (1, vec![]));
        assert_eq!(next(1, 0, 2, "Oon"), (0, vec![]));
        assert_eq!(next(1, 0, 2, "OoN"), (0, vec!["o1".to_owned()]));
        assert_eq!(next(1, 0, 1, "NnN"), (0, vec!["n1".to_owned(), "N0".to_owned()]));
        assert_eq!(next(1, 0, 0, "N"), (0, vec!["N0".to_owned()]));
    }

    #[test]
    fn percentages_are_rounded_so_that_a_rollout_can_go_on() {
        let quarter = || serde_json::Value::from("25%");
        let step = step(&spec(&quarter(), &quarter()), 2, &members("OO"));
        assert_eq!((step.make, step.end.len()), (1, 0));
    }
}

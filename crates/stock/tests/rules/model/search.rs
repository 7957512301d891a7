//! Visits every state that a system can reach, the nearest first, and tells the shortest way to one that must not be.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::hash::Hash;

/// A system: where it starts and what can happen next.
pub(super) trait System {
    type State: Clone + Eq + Hash + Debug;
    type Action: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Everything that can happen in a state.
    fn actions(&self, state: &Self::State, into: &mut Vec<Self::Action>);

    /// What an action makes of a state, or which promise it breaks.
    fn step(&self, state: &Self::State, action: Self::Action) -> Result<Self::State, String>;
}

/// How a search ended.
pub(super) struct Outcome {
    /// States visited.
    pub(super) states: usize,
    /// What was broken and how it came to that, if anything was.
    pub(super) broken: Option<String>,
}

/// Searches until everything is visited or something is broken.
pub(super) fn search<S: System>(system: &S) -> Outcome {
    let start = system.start();
    let mut known: HashMap<S::State, usize> = HashMap::from([(start.clone(), 0)]);
    let mut states = vec![start];
    let mut came: Vec<Option<(usize, S::Action)>> = vec![None];
    let mut actions = Vec::new();
    let mut at = 0;
    while at < states.len() {
        let state = states[at].clone();
        actions.clear();
        system.actions(&state, &mut actions);
        for &action in &actions {
            match system.step(&state, action) {
                Ok(next) => {
                    known.entry(next).or_insert_with_key(|next| {
                        states.push(next.clone());
                        came.push(Some((at, action)));
                        states.len() - 1
                    });
                }
                Err(promise) => {
                    let broken = Some(tell::<S>(&came, at, action, &state, &promise));
                    return Outcome { states: states.len(), broken };
                }
            }
        }
        at += 1;
    }
    Outcome { states: states.len(), broken: None }
}

fn tell<S: System>(
    came: &[Option<(usize, S::Action)>],
    mut at: usize,
    last: S::Action,
    state: &S::State,
    promise: &str,
) -> String {
    let mut way = vec![last];
    while let Some((from, action)) = came[at] {
        way.push(action);
        at = from;
    }
    let mut story = format!("{promise}\nafter:");
    for (index, action) in way.iter().rev().enumerate() {
        write!(story, "\n  {:2}. {action:?}", index + 1).unwrap();
    }
    write!(story, "\nfrom the state: {state:?}").unwrap();
    story
}

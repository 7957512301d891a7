//! What must be true, judged from the records and from what clients were told, never by the planner's own numbers.

use super::parts::{Mini, Phase, Said, Setup, Verb, Whole};
use super::postgres::buyer_of;
use holdfast_stock::{Answer, Op, Refusal, State};

/// U and I4: whoever is told that there is too little, asked while there was, and has nothing under the key.
pub(super) fn short(setup: &Setup, state: &Whole, buyer: usize) -> Result<(), String> {
    if setup.free(state) >= setup.wants[buyer] {
        return Err(format!("U: buyer {buyer} is turned away while {} are free", setup.free(state)));
    }
    match state.records[buyer].map(|record| record.state) {
        Some(State::Held | State::Confirmed) => Err(format!("I4: buyer {buyer} is turned away from what it has")),
        _ => Ok(()),
    }
}

/// What a batch answered, followed operation by operation over the units that were free before it.
pub(super) fn batch(
    setup: &Setup,
    before: &Whole,
    ops: &[Op],
    answers: &[Result<Answer, Refusal>],
) -> Result<(), String> {
    let mut now = before.clone();
    for (op, answer) in ops.iter().zip(answers) {
        let Some(buyer) = op.reservation().map(buyer_of) else { continue };
        match (op, answer) {
            // A key that is closed says no for good; a closing one was judged when it was read.
            (Op::Reserve { .. }, Err(Refusal::Insufficient(_)))
                if now.records[buyer].is_none_or(|record| record.state != State::Refused) =>
            {
                short(setup, &now, buyer)?;
            }
            (Op::Reserve { .. }, Err(Refusal::Contended)) => return Err("nothing was locked by anybody else".into()),
            (_, Err(Refusal::Inconsistent(what))) => return Err(format!("I3: {what}")),
            (Op::Reserve { .. }, Ok(Answer::Reservation(answer))) if !answer.replayed => {
                let (made, expires) = (now.now, now.now + 1);
                now.records[buyer] = Some(Mini { state: State::Held, made, expires, fence: false });
            }
            (Op::Release { .. }, Ok(Answer::Reservation(answer))) => {
                if let Some(record) = &mut now.records[buyer] {
                    record.state = answer.current_state;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What must be true after every step.
pub(super) fn state(setup: &Setup, before: &Whole, after: &Whole) -> Result<(), String> {
    for buyer in 0..2 {
        record(before, after, buyer)?;
    }
    let units = |state: State| -> i8 {
        let stands = |buyer: &usize| after.records[*buyer].is_some_and(|record| record.state == state);
        (0..2).filter(stands).map(|buyer| setup.wants[buyer]).sum()
    };
    let (held, committed) = (units(State::Held), units(State::Confirmed));
    if held + committed > setup.units {
        return Err(format!("I2: {held} held and {committed} sold of {}", setup.units));
    }
    if (held, committed) != (after.held, after.committed) {
        return Err(format!(
            "I3: reservations say {held} and {committed}, the row {} and {}",
            after.held, after.committed
        ));
    }
    for (index, sent) in setup.requests.iter().enumerate() {
        let Phase::Told(Said::Yes(_)) = after.phases[index] else { continue };
        let stands = after.records[sent.buyer].map(|record| record.state);
        match sent.verb {
            Verb::Reserve { .. } | Verb::Extend if stands.is_none() => {
                return Err(format!("I1: buyer {} was promised a hold that is nowhere", sent.buyer));
            }
            Verb::Confirm if stands != Some(State::Confirmed) => {
                return Err(format!("I1: buyer {} was sold units that are not", sent.buyer));
            }
            Verb::Reserve { .. } | Verb::Extend | Verb::Confirm | Verb::Release => {}
        }
    }
    Ok(())
}

/// What must be true of a step that a reservation makes.
fn record(before: &Whole, after: &Whole, buyer: usize) -> Result<(), String> {
    let (was, is) = (before.records[buyer], after.records[buyer]);
    let Some(is) = is else { return Ok(()) };
    if was.is_some_and(|was| was.state.is_final() && was != is) {
        return Err(format!("I6: buyer {buyer}'s reservation was final: {was:?} became {is:?}"));
    }
    if after.holds_made[buyer] > 1 {
        return Err(format!("I4: buyer {buyer}'s key held units twice"));
    }
    if is.state == State::Confirmed && was.is_none_or(|was| was.state != State::Confirmed) && after.now >= is.expires {
        return Err(format!("I5: buyer {buyer}'s hold was confirmed after its time"));
    }
    if let Some(was) = was
        && is.expires > was.expires
        && after.now >= was.expires
    {
        return Err(format!("I5: buyer {buyer}'s hold was extended after its time"));
    }
    if after.closed[buyer] && matches!(is.state, State::Held | State::Confirmed) {
        return Err(format!("I4: buyer {buyer} was told that its key is closed, and it is {}", is.state));
    }
    Ok(())
}

//! From a run that fails to a shorter one that still does.

use super::{
    plan::Plan,
    run::{Outcome, run},
};

/// Takes away what is not needed for the run to fail: faults by halves and one by one, then people and what they say.
pub(super) fn shortened(plan: &Plan) -> (Plan, Outcome) {
    let (mut plan, mut outcome) = (plan.clone(), run(plan));
    let Some(sign) = outcome.complaints.first().map(|complaint| kind(complaint).to_owned()) else {
        return (plan, outcome);
    };
    loop {
        let before = size(&plan);
        for shorter in candidates(&plan) {
            if size(&shorter) >= size(&plan) {
                continue;
            }
            let tried = run(&shorter);
            if tried.complaints.iter().any(|complaint| kind(complaint) == sign) {
                (plan, outcome) = (shorter, tried);
                break;
            }
        }
        if size(&plan) == before {
            return (plan, outcome);
        }
    }
}

/// What kind of complaint it is: another failure is another story.
fn kind(complaint: &str) -> &str {
    complaint.get(..12).unwrap_or(complaint)
}

fn size(plan: &Plan) -> usize {
    20 * plan.deeds.len() + 5 * (plan.speakers + plan.readers + plan.rooms + plan.pods) + plan.messages
}

fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let half = plan.deeds.len().div_ceil(2);
    if half < plan.deeds.len() {
        all.push(Plan { deeds: plan.deeds[..half].to_vec(), ..plan.clone() });
        all.push(Plan { deeds: plan.deeds[half..].to_vec(), ..plan.clone() });
    }
    for at in 0..plan.deeds.len() {
        let mut deeds = plan.deeds.clone();
        deeds.remove(at);
        all.push(Plan { deeds, ..plan.clone() });
    }
    let fewer = |n: usize| (n > 1).then(|| n - 1);
    all.extend(fewer(plan.rooms).map(|rooms| Plan { rooms, ..plan.clone() }));
    all.extend(fewer(plan.readers).map(|readers| Plan { readers, ..plan.clone() }));
    all.extend(fewer(plan.speakers).map(|speakers| Plan { speakers, ..plan.clone() }));
    all.push(Plan { messages: plan.messages / 2 + 1, ..plan.clone() });
    all.extend(fewer(plan.messages).map(|messages| Plan { messages, ..plan.clone() }));
    all
}

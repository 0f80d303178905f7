//! Random runs in which people have their say: they overturn decisions and give up what waits, while users write, nodes go away and
//! connections break.

use std::collections::BTreeSet;

use super::random::seeds;
use super::reference::{Kind, Run, Write, nothing_went_silently};
use crate::sync::resolve::Remedy;
use crate::sync::session::Session;

/// Nothing was given up that still waits; or in words what keeps it from that.
type Done = Result<(), String>;

fn run(seed: u64) -> Done {
    let mut run = Run::new(seed);
    if seed % 2 == 1 {
        run.cluster.few = 1;
    }
    if run.kind == Kind::Sum {
        run.kind = Kind::Latest;
    }
    let parks = run.random.chance(60);
    if parks {
        run.settings = Some("\"park\"");
    }
    // A person's word is none of a user's writes, and may be anything that was.
    run.restored = true;
    let (kind, count) = (run.kind, run.cluster.databases.len());
    play(&mut run).map_err(|what| format!("seed {seed} ({kind:?}, parks: {parks}, {count} nodes): {what}"))
}

fn play(run: &mut Run) -> Done {
    let conflict = run.conflict();
    run.cluster.block(run.cluster.session(conflict, 1000).install()).map_err(|error| error.to_string())?;
    let mut session = run.cluster.session(conflict, 1000);
    let trace = std::env::var("CONCORD_TRACE").is_ok();
    for _ in 0..5 + run.random.below(60) {
        if trace {
            run.cluster.show();
        }
        let at = run.random.below(run.cluster.databases.len() as u64) as usize;
        match run.random.below(100) {
            0..=44 => run.write(at),
            45..=51 => run.commit(at),
            52..=55 => {
                let mut state = run.cluster.databases[at].lock();
                let value = state.rows.values().next().copied();
                state.refuses = if state.refuses.is_none() { value } else { None };
            }
            56..=57 => session = run.cluster.session(conflict, 1000),
            58..=65 => overturn(run, &mut session),
            66..=72 => give_up(run, &mut session, Some(at)),
            _ => run.cycles(&mut session)?,
        }
    }
    let few = 1 + run.random.below(4) as usize;
    run.cluster.settle(conflict, few)?;
    for _ in 0..20 {
        let waits = |at: &usize| !run.cluster.databases[*at].lock().parked.is_empty();
        let Some(at) = (0..run.cluster.databases.len()).find(waits) else { break };
        let mut session = run.cluster.session(conflict, 1000);
        give_up(run, &mut session, Some(at));
        run.cluster.settle(conflict, few)?;
    }
    run.check()?;
    nothing_went_silently(run, &[])
}

/// A person overturns one of the decisions. It may be refused.
fn overturn(run: &mut Run, session: &mut Session) {
    let Ok(conflicts) = run.cluster.block(session.conflicts(50)) else { return };
    if conflicts.is_empty() {
        return;
    }
    let one = &conflicts[run.random.below(conflicts.len() as u64) as usize];
    let remedy = match run.random.below(3) {
        0 => Remedy::Undo,
        1 => Remedy::Take(one.loser.clone()),
        _ => Remedy::Row(None),
    };
    let force = run.random.chance(50);
    if let Ok(report) = run.cluster.block(session.resolve(&one.id, &remedy, force))
        && report.after.is_none()
    {
        let id = report.key.as_array().and_then(|key| key[0].as_i64()).expect("keys are numbers");
        let deleted = Write {
            at: None,
            time: i64::MIN,
            committed: i64::MIN,
            number: 0,
            value: None,
            made: false,
            seen: BTreeSet::new(),
        };
        run.written.entry(id).or_default().push(deleted);
    }
}

/// A person gives up what waits at one node, or anywhere.
fn give_up(run: &mut Run, session: &mut Session, at: Option<usize>) {
    let name = at.map(|at| super::cluster::NAMES[at]);
    // It may be refused.
    drop(run.cluster.block(session.drop_parked(|row| name.is_none_or(|name| row.node == name))));
}

#[test]
fn what_people_decide_is_agreed_on() {
    let failures: Vec<String> = seeds(150).filter_map(|seed| run(seed).err()).collect();
    let shown = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

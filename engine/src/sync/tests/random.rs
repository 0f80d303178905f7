//! Random runs against the reference.

use super::reference::Run;
use super::restoring::Backup;

/// A small generator of its own, so that a seed means the same run for ever.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One random run; returns what went wrong.
fn run(seed: u64) -> Result<(), String> {
    let mut run = Run::new(seed);
    // Every other run writes early what can be.
    if seed % 2 == 1 {
        run.cluster.few = 1;
    }
    let (kind, count) = (run.kind, run.cluster.databases.len());
    play(&mut run).map_err(|what| format!("seed {seed} ({kind:?}, {count} nodes): {what}"))
}

fn play(run: &mut Run) -> Result<(), String> {
    let conflict = run.conflict();
    run.cluster.block(run.cluster.session(conflict, 1000).install()).map_err(|error| error.to_string())?;
    let mut session = run.cluster.session(conflict, 1000);
    let mut backups: Vec<Backup> = Vec::new();
    let trace = std::env::var("CONCORD_TRACE").is_ok();
    for _ in 0..3 + run.random.below(60) {
        if trace {
            run.cluster.show();
        }
        let at = run.random.below(run.cluster.databases.len() as u64) as usize;
        match run.random.below(100) {
            0..=54 => run.write(at),
            55..=62 => run.commit(at),
            63..=66 => {
                // A constraint comes and goes, or what cannot be read does.
                let reads = run.random.chance(50);
                let mut state = run.cluster.databases[at].lock();
                let value = state.rows.values().next().copied();
                let trouble = if reads { &mut state.unreadable } else { &mut state.refuses };
                *trouble = if trouble.is_none() { value } else { None };
            }
            67..=68 => session = run.cluster.session(conflict, 1000),
            69..=70 => backups.push(Backup { at, state: run.cluster.databases[at].lock().clone() }),
            _ => run.cycles(&mut session)?,
        }
    }
    if !backups.is_empty() && run.random.chance(50) {
        let which = run.random.below(backups.len() as u64) as usize;
        if !run.restore(&mut session, backups.swap_remove(which))? {
            return Ok(());
        }
        run.restored = true;
    }
    let few = 1 + run.random.below(4) as usize;
    run.cluster.settle(conflict, few)?;
    run.check()
}

/// What the environment asks for.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many random runs; CONCORD_RUNS asks for more, CONCORD_SEED for one.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number("CONCORD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CONCORD_RUNS").unwrap_or(usual),
    }
}

#[test]
fn random_runs_converge_to_the_reference() {
    let failures: Vec<String> = seeds(1_000).filter_map(|seed| run(seed).err()).collect();
    let shown = failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} runs went wrong; replay one with CONCORD_SEED=…\n{shown}", failures.len());
}

//! `concord load`: the first copy, and the way back for nodes that were left out.

use clap::Args;
use serde::Serialize;

use super::install;
use super::progress::Progress;
use super::report::{Table, count, counted, json, say, verbatim};
use super::sync::{left_out, print_carried, print_held};
use super::{Global, Output, block_on, load as read, note, remark};
use crate::config::{Config, Mode, section_of};
use crate::error::{DONE, Result};
use crate::sync::{Created, LoadOptions, Loaded, Session, Stage};

#[derive(Clone, Debug, Args)]
#[command(
    about = "Copy rows that are missing somewhere, and decide those that differ",
    long_about = "Copy rows that are missing somewhere to where they are missing, and decide those that differ; users may go on writing meanwhile. Rows that differ are decided by the table's only source, or else by --prefer, the column that the file names as `updated`, or the table's policy `prefer`; where a node is let in again, what the others have goes before what it has unless --prefer or `updated` says otherwise. If nothing decides, nothing is written. What is replaced goes to the journal. An interrupted load goes on where it was; one that was letting a node in begins anew if users have changed anything there meanwhile. Nodes that were left out because they were put back from a backup, replaced, or came late take part again.\n\nTo a node with a filter come just those rows that belong there. Rows that stand where they do not belong stay, unless --refilter says to remove them; that is what a table needs whose filters have changed in the file. A table whose mappings have changed needs --refilter as well: all its rows are gone through by the new ones.\n\nExits with 1 if rows could not be copied or decided, and with 3 if a node could not be reached, or was held up by locks or lack of room.",
    after_long_help = "Examples:\n  concord load\n  concord load --dry-run\n  concord load --prefer office\n  concord load --create --dry-run\n  concord load --refilter --table customers\n  concord load --table customers --where \"region = 'EU' and id >= 100\""
)]
pub struct Load {
    /// The node whose rows count where rows differ
    #[arg(long, value_name = "NODE")]
    pub prefer: Option<String>,
    /// Only this table; may be given several times
    #[arg(long = "table", value_name = "NAME")]
    pub tables: Vec<String>,
    /// Only rows for which this holds: shared columns compared with values, `and`, `or`, `not`, `in`, `is null`
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
    /// First create tables that are missing at a node from what they are at another, and install
    #[arg(long)]
    pub create: bool,
    /// Tell what would be done, with --create as SQL, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Begin anew instead of going on where an interrupted load was
    #[arg(long)]
    pub restart: bool,
    /// Remove rows from nodes where they do not belong by the file's filters, and go by these filters, and by the file's mappings, from
    /// then on
    #[arg(long)]
    pub refilter: bool,
    #[command(flatten)]
    pub output: Output,
}

pub fn run(global: &Global, load: &Load) -> Result<u8> {
    let options = LoadOptions {
        prefer: load.prefer.clone(),
        tables: load.tables.clone(),
        condition: load.condition.clone(),
        dry_run: load.dry_run,
        restart: load.restart,
        refilter: load.refilter,
    };
    let config = read(global)?;
    Session::new(config.clone()).accepts(&options)?;
    let mut created = Vec::new();
    if load.create {
        let made = block_on(create(&config, load, global.quiet, &mut created));
        // What was made before is told anyhow.
        if made.is_err() && load.output.json && !load.dry_run {
            created.iter().try_for_each(|table| tell(table, false, true))?;
        }
        made?;
    }
    // What is not there cannot be compared. And where every table is compared, the next sync copies their rows.
    let compared = load.create && !config.keeps_histories();
    let loaded = match load.dry_run && !created.is_empty() || compared {
        true => {
            let compared = config.tables.iter().filter(|table| table.mode == Mode::Compare);
            let compared = compared.map(|table| table.name.clone()).collect();
            Loaded { dry_run: load.dry_run, compared, ..Loaded::default() }
        }
        false => {
            let mut progress = Progress::new(global.quiet);
            let mut told = |stage: &Stage| {
                let doing = if stage.comparing { "comparing " } else { "" };
                progress.tell(&format!("{doing}{} at {}", stage.table, stage.node), stage.rows, stage.total);
            };
            let loaded = block_on(async {
                if config.compares() {
                    Session::new(config.clone()).refuse_recorded().await?;
                }
                Session::new(config).load(&options, &mut told).await
            });
            drop(progress);
            loaded?
        }
    };
    if load.output.json {
        json(&Report { created: &created, loaded: &loaded })?;
    } else if !load.dry_run || created.is_empty() {
        print(&loaded, global.quiet)?;
    }
    Ok(if load.dry_run && !created.is_empty() { DONE } else { loaded.exit_code() })
}

/// What `load --json` tells.
#[derive(Serialize)]
struct Report<'a> {
    /// Tables that were created, or with `--dry-run` would be.
    created: &'a [Created],
    #[serde(flatten)]
    loaded: &'a Loaded,
}

/// Creates what is missing and installs, so that changes are recorded before anything is copied.
async fn create(config: &Config, load: &Load, quiet: bool, created: &mut Vec<Created>) -> Result<()> {
    let dry = load.dry_run;
    let mut told = Ok(());
    let mut hear = |table: Created| {
        if !load.output.json && told.is_ok() {
            told = tell(&table, dry, false);
        }
        created.push(table);
    };
    let made = Session::new(config.clone()).create_missing(dry, &mut hear).await;
    told?;
    made?;
    if !dry {
        let (_, warnings) = Session::new(config.clone()).install().await?;
        // Before anything is copied, as that may fail.
        install::warn(&warnings, quiet);
    }
    Ok(())
}

/// `aside`: what the command says belongs to somebody else.
fn tell(table: &Created, dry: bool, aside: bool) -> Result<()> {
    let line = format!("{}: created {} as it is at {}", table.node, table.table, table.from);
    match (dry, aside) {
        (true, _) => {
            say(&format!("-- at {}, from {}", table.node, table.from))?;
            table.statements.iter().try_for_each(|statement| verbatim(&format!("{statement};")))?;
        }
        (false, false) => say(&line)?,
        (false, true) => note(&line),
    }
    for line in &table.notes {
        match dry {
            true => say(&comment(line))?,
            false => note(&format!("{}: {}: not carried: {line}", table.node, table.table)),
        }
    }
    Ok(())
}

/// What is not carried, among SQL that may be run as it is printed: checks go over several lines.
fn comment(line: &str) -> String {
    format!("-- not carried: {}", line.replace('\n', "\n-- "))
}

fn print(loaded: &Loaded, quiet: bool) -> Result<()> {
    let would = loaded.dry_run;
    for node in &loaded.rejoined {
        let told = match would {
            true => format!("node `{node}` is left out; it would take part again"),
            false => format!("node `{node}` had been left out; it takes part again"),
        };
        remark(quiet, &told);
    }
    loaded.numbered.iter().for_each(|line| remark(quiet, line));
    if loaded.resumed {
        remark(quiet, "went on where an earlier load had been interrupted");
    }
    let removes = loaded.tables.iter().flat_map(|table| &table.nodes).any(|node| node.removed > 0);
    let heads = ["table", "node", ">copied", ">replaced", ">removed"];
    let mut rows = Table::new(if removes { &heads } else { &heads[..4] });
    for table in &loaded.tables {
        for node in &table.nodes {
            let mut cells = vec![table.table.clone(), node.node.clone(), count(node.copied), count(node.replaced)];
            cells.extend(removes.then(|| count(node.removed)));
            rows.row(cells);
        }
    }
    match (rows.is_empty(), would) {
        (true, true) => say("there is nothing to copy")?,
        (true, false) if loaded.tables.iter().any(|table| table.together > 0) => {}
        (true, false) => say("nothing to copy")?,
        (false, true) => {
            say(if removes { "would be copied, replaced and removed:" } else { "would be copied and replaced:" })?;
            rows.print()?;
        }
        (false, false) => rows.print()?,
    }
    if !loaded.sync.nodes.is_empty() || loaded.sync.conflicts > 0 {
        say("the sync before and after carried what histories tell:")?;
        print_carried(&loaded.sync)?;
    }
    for table in &loaded.tables {
        if let (true, Some(rule)) = (table.nodes.iter().any(|node| node.replaced > 0), &table.rule) {
            let kept = if would { "" } else { "; what was replaced: concord conflicts list" };
            say(&format!("rows of {} that differ are decided by: {rule}{kept}", table.table))?;
        }
        if table.undecided > 0 {
            let rows = counted(table.undecided, "row differs", "rows differ");
            say(&format!(
                "{}: {rows} and nothing says which are right: --prefer NODE, or `updated` in {}",
                table.table,
                section_of(&table.table)
            ))?;
        }
        if table.uncounted > 0 {
            let rows = counted(table.uncounted, "row", "rows");
            let kept = if would { "" } else { "; see: concord conflicts list" };
            say(&format!(
                "{}: in {rows} what was added at a node that is let in is counted nowhere, as the row is alike elsewhere{kept}",
                table.table
            ))?;
        }
        if table.outside > 0 {
            let rows =
                counted(table.outside, "row stays where it does not belong", "rows stay where they do not belong");
            say(&format!("{}: {rows}; concord verify --repair --table {0} removes such rows", table.table))?;
        }
        if table.together > 0 {
            let rows = counted(table.together, "row", "rows");
            say(&format!("{}: {rows} could not be written one by one and came together, with the sync", table.table))?;
        }
        if table.on_their_way > 0 {
            let rows = counted(table.on_their_way, "row is", "rows are");
            say(&format!("{}: {rows} left to the sync, which would come first; see: concord plan", table.table))?;
        }
        if table.waiting > 0 {
            let rows = counted(
                table.waiting,
                if would { "row would wait" } else { "row waits" },
                if would { "rows would wait" } else { "rows wait" },
            );
            let see = if would { "" } else { "; see: concord parked list" };
            say(&format!("{}: {rows}{see}", table.table))?;
        }
    }
    for table in loaded.tables.iter().filter(|table| table.passed_over > 0) {
        let rows = counted(table.passed_over, "row waits and was", "rows wait and were");
        say(&format!(
            "{}: {rows} passed over, and may differ now through the other mapping; settle what waits (concord parked list), then: \
             concord verify --repair --table {0}",
            table.table
        ))?;
    }
    let told: u64 = loaded.tables.iter().map(|table| table.waiting).sum();
    if loaded.sync.waiting > told {
        let rows = counted(loaded.sync.waiting, "row waits", "rows wait");
        say(&format!("{rows} for a person; see: concord parked list"))?;
    }
    print_held(loaded.sync.held)?;
    if !loaded.compared.is_empty() {
        let told = format!("no load is needed of {}: `concord sync` compares and copies", loaded.compared.join(", "));
        remark(quiet, &told);
    }
    left_out(&loaded.away, &loaded.stopped);
    if let Some(failed) = &loaded.sync.failed {
        note(&format!("not everything was carried: {failed}"));
    }
    Ok(())
}

//! The numbers that the server draws by itself.
//!
//! In which steps AUTO_INCREMENT counts is a setting of the whole server, which only an administrator makes. What Concord does for a
//! table is to let it go on beyond all numbers that stand anywhere.

use super::wire::{Args, int, number};
use super::{MySql, quote, sql};
use crate::model::TableSpec;
use crate::node::{Result, ServerSteps, Stepped, Steps};

impl MySql {
    /// The settings that new sessions begin with. A session may have its own, and one that was there before keeps the old ones.
    pub(super) async fn read_server_steps(&mut self) -> Result<ServerSteps> {
        let statement =
            "SELECT CAST(@@global.auto_increment_increment AS SIGNED), CAST(@@global.auto_increment_offset AS SIGNED)";
        let rows = self.main()?.fetch(statement, Args::new()).await?;
        let setting = |at| rows.first().and_then(|row| number(row, at)).unwrap_or(1);
        Ok(ServerSteps {
            step: setting(0),
            first: setting(1),
            settings: ["auto_increment_increment", "auto_increment_offset"],
        })
    }

    /// The greatest number that stands in a column, of all or of those with this remainder. What was drawn and stands nowhere is
    /// not told for certain, and need not be: the numbers of a table go on from the greatest that stands in it.
    pub(super) async fn read_greatest(
        &mut self,
        table: &TableSpec,
        column: usize,
        of: Option<(i64, i64)>,
    ) -> Result<i64> {
        let name = quote::ident(&table.columns[column].name);
        let of = of.map_or(String::new(), |(step, slot)| format!(" WHERE {name} > 0 AND {name} % {step} = {slot}"));
        let statement = format!(
            "SELECT COALESCE(CAST(LEAST(MAX({name}), {}) AS SIGNED), 0) FROM {}{of}",
            i64::MAX,
            sql::table(table)
        );
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0))
    }

    /// See [`crate::node::Node::step_numbers`]. The server counts in these steps already, which was checked before. And it counts on
    /// from whatever stands in the table, so a database that was put back draws nothing twice once it has the others' rows.
    pub(super) async fn make_steps(&mut self, table: &TableSpec, column: usize, steps: Steps) -> Result<Stepped> {
        let Steps { step, slot, above, anew, .. } = steps;
        let counts = "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
                      AND COLUMN_NAME = ? AND EXTRA LIKE '%auto_increment%'";
        let mut args = Args::new();
        args.add(table.local.as_str()).add(table.columns[column].name.as_str());
        if self.main()?.fetch(counts, args).await?.is_empty() {
            return Ok(Stepped::default());
        }
        let mut args = Args::new();
        args.add(table.name.as_str());
        let known = self.main()?.fetch("SELECT step, slot FROM concord_steps WHERE name = ?", args).await?;
        let known = known.first().map(|row| Ok::<_, crate::node::Error>((int(row, 0)?, int(row, 1)?))).transpose()?;
        if known == Some((step, slot)) && !anew {
            return Ok(Stepped::default());
        }
        let last = self.read_greatest(table, column, None).await?;
        let least = last.max(above).saturating_add(1);
        let first = least.saturating_add((slot - least).rem_euclid(step));
        // The server never goes back below what stands in the table.
        self.main()?.run(&format!("ALTER TABLE {} AUTO_INCREMENT = {first}", sql::table(table))).await?;
        let mut args = Args::new();
        args.add(table.name.as_str()).add(step).add(slot);
        self.main()?.execute("REPLACE INTO concord_steps (name, step, slot) VALUES (?, ?, ?)", args).await?;
        let last = self.read_greatest(table, column, None).await?;
        let done = format!("{}: AUTO_INCREMENT counts in steps of {step} from {first}", table.name);
        Ok(Stepped { last: Some(last), done: Some(done) })
    }

    /// See [`crate::node::Node::restore_numbers`]. The server's settings are not Concord's to put back; what was done is forgotten.
    pub(super) async fn forget_steps(&mut self, keep: &[(&TableSpec, usize)]) -> Result<()> {
        for row in self.main()?.fetch("SELECT name FROM concord_steps", Args::new()).await? {
            let name = super::wire::string(&row, 0)?;
            if !keep.iter().any(|(table, _)| table.name == name) {
                let mut args = Args::new();
                args.add(name.as_str());
                self.main()?.execute("DELETE FROM concord_steps WHERE name = ?", args).await?;
            }
        }
        Ok(())
    }
}

//! What a load does to the service tables: how far it has come, and nodes that join or come back.

use std::collections::HashMap;

use super::schema::one;
use super::service::parse;
use super::wire::{Args, string};
use super::{MySql, marks, quote};
use crate::model::Cut;
use crate::node::Result;

impl MySql {
    pub(super) async fn read_progress(&mut self) -> Result<Option<String>> {
        if self.read_service().await?.is_none() {
            return Ok(None);
        }
        self.check_service().await?;
        let rows = self.main()?.fetch("SELECT progress FROM concord_load", Args::new()).await?;
        rows.first().map(|row| string(row, 0)).transpose()
    }

    pub(super) async fn write_progress(&mut self, progress: Option<&str>) -> Result<()> {
        let main = self.main()?;
        match progress {
            Some(text) => main.execute("REPLACE INTO concord_load (one, progress) VALUES (1, ?)", one(text)).await,
            None => main.execute("DELETE FROM concord_load", Args::new()).await,
        }
        .map(drop)
    }

    pub(super) async fn write_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        self.begin_installing().await?;
        self.check_service().await?;
        self.main()?.run("START TRANSACTION").await?;
        for (table, shape) in shapes {
            let mut args = one(shape);
            args.add(table.as_str());
            self.main()?.execute("UPDATE concord_installed SET shape = ? WHERE name = ?", args).await?;
        }
        self.main()?.run("COMMIT").await
    }

    async fn put_positions(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        for (table, source, cut) in positions {
            let mut args = one(table);
            args.add(source.as_str()).add(cut.to_string());
            args.add(Cut::START.to_string()).add(Cut::START.to_string());
            self.main()?
                .execute(
                    "INSERT INTO concord_position (name, source, cut) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE \
                     witness = IF(cut = ?, NULL, witness), cut = IF(cut = ?, VALUES(cut), cut)",
                    args,
                )
                .await?;
        }
        Ok(())
    }

    pub(super) async fn start_positions(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        self.begin_installing().await?;
        self.check_service().await?;
        self.main()?.run("START TRANSACTION").await?;
        self.put_positions(positions).await?;
        self.main()?.run("COMMIT").await
    }

    pub(super) async fn forget_node(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
        self.begin_installing().await?;
        self.check_service().await?;
        self.main()?.run("START TRANSACTION").await?;
        let stands = "SELECT name, cut FROM concord_position WHERE source = ? ORDER BY name FOR UPDATE";
        let mut standing = HashMap::new();
        for row in self.main()?.fetch(stands, one(node)).await? {
            standing.insert(string(&row, 0)?, parse::<Cut>(&string(&row, 1)?)?);
        }
        if seen.iter().any(|(table, cut)| standing.get(table).unwrap_or(&Cut::START) != cut) {
            self.main()?.run("ROLLBACK").await?;
            return Ok(false);
        }
        self.main()?.execute("DELETE FROM concord_position WHERE source = ?", one(node)).await?;
        self.main()?.execute("DELETE FROM concord_witness WHERE target = ?", one(node)).await?;
        self.main()?.run("COMMIT").await?;
        Ok(true)
    }

    pub(super) async fn renew_all(
        &mut self,
        former: &str,
        positions: &[(String, String, Cut)],
        progress: &str,
    ) -> Result<bool> {
        // Nobody else renews or installs while the lock is held, which is longer than a transaction here.
        self.begin_installing().await?;
        if self.check_service().await?.uuid != former {
            return Ok(false);
        }
        // As for new histories: above whatever was given out before the clock showed this.
        for history in self.histories().await? {
            let last = self.drawn(&history).await?.unwrap_or(0);
            let start = last.saturating_add(1).max(self.clock().await?);
            self.main()?.run(&format!("ALTER TABLE {} AUTO_INCREMENT = {start}", quote::ident(&history))).await?;
        }
        self.clear_histories().await?;
        self.main()?.run("START TRANSACTION").await?;
        let last = marks::claim_last(self.main()?).await?.unwrap_or(0);
        let mut args = Args::new();
        args.add(self.clock().await?.max(last + 1));
        self.main()?.execute("UPDATE concord_mark SET last = ?", args).await?;
        let uuid = uuid::Uuid::new_v4().hyphenated().to_string();
        self.main()?.execute("UPDATE concord_node SET uuid = ?", one(&uuid)).await?;
        self.write_progress(Some(progress)).await?;
        self.put_positions(positions).await?;
        self.main()?.run("COMMIT").await?;
        Ok(true)
    }
}

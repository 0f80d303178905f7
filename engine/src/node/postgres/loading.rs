//! What a load does to the service tables: how far it has come, and nodes that join or come back.

use std::collections::HashMap;

use super::capture;
use super::install::{LOCK, begin};
use super::schema::get;
use super::service::parse;
use super::wire::Args;
use super::{HISTORY, Phase, Postgres, quote};
use crate::model::Cut;
use crate::node::{Result, Service};

impl Postgres {
    pub(super) async fn read_progress(&mut self) -> Result<Option<String>> {
        if self.read_service().await?.is_none() {
            return Ok(None);
        }
        self.check_service().await?;
        let rows = self.fetch("SELECT progress FROM concord.load", Args::new()).await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    pub(super) async fn write_progress(&mut self, progress: Option<&str>) -> Result<()> {
        match progress {
            Some(text) => {
                let mut args = Args::new();
                args.add(text);
                // Nobody waits for the disk: if it is lost with the server, the load goes on from somewhat before.
                self.execute(
                    "WITH hurry AS MATERIALIZED (SELECT pg_catalog.set_config('synchronous_commit', 'off', true)) \
                     INSERT INTO concord.load (progress) SELECT $1 FROM hurry \
                     ON CONFLICT (single) DO UPDATE SET progress = excluded.progress",
                    args,
                )
                .await
                .map(drop)
            }
            None => self.execute("DELETE FROM concord.load", Args::new()).await.map(drop),
        }
    }

    /// What is installed cannot become another until the change ends.
    async fn begin_change(&mut self) -> Result<Service> {
        self.begin(Phase::Installing, &begin()).await?;
        self.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})")).await?;
        self.check_service().await
    }

    async fn end_change(&mut self) -> Result<()> {
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        Ok(())
    }

    pub(super) async fn write_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        self.begin_change().await?;
        for (table, shape) in shapes {
            let mut args = Args::new();
            args.add(table.as_str()).add(shape.as_str());
            self.execute("UPDATE concord.installed SET shape = $2 WHERE \"table\" = $1", args).await?;
        }
        self.end_change().await
    }

    async fn put_positions(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        for (table, source, cut) in positions {
            let mut args = Args::new();
            args.add(table.as_str()).add(source.as_str()).add(cut.to_string()).add(Cut::START.to_string());
            self.execute(
                "INSERT INTO concord.position AS p (\"table\", source, cut) VALUES ($1, $2, $3) \
                 ON CONFLICT (\"table\", source) DO UPDATE SET cut = excluded.cut, witness = NULL WHERE p.cut = $4",
                args,
            )
            .await?;
        }
        Ok(())
    }

    pub(super) async fn start_positions(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        self.begin_change().await?;
        self.put_positions(positions).await?;
        self.end_change().await
    }

    pub(super) async fn forget_node(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
        self.begin_change().await?;
        let mut args = Args::new();
        args.add(node);
        let stands = "SELECT \"table\", cut FROM concord.position WHERE source = $1 ORDER BY 1 FOR UPDATE";
        let mut standing = HashMap::new();
        for row in self.fetch(stands, args).await? {
            standing.insert(get::<String>(&row, 0)?, parse::<Cut>(&get::<String>(&row, 1)?)?);
        }
        if seen.iter().any(|(table, cut)| standing.get(table).unwrap_or(&Cut::START) != cut) {
            return Ok(false);
        }
        for statement in
            ["DELETE FROM concord.position WHERE source = $1", "DELETE FROM concord.witness WHERE target = $1"]
        {
            let mut args = Args::new();
            args.add(node);
            self.execute(statement, args).await?;
        }
        self.end_change().await.map(|()| true)
    }

    pub(super) async fn renew_all(
        &mut self,
        former: &str,
        positions: &[(String, String, Cut)],
        progress: &str,
    ) -> Result<bool> {
        if self.begin_change().await?.uuid != former {
            return Ok(false);
        }
        self.clear_histories().await?;
        for history in self.histories().await? {
            // As for a new history: above whatever was given out before the clock showed this.
            let mut args = Args::new();
            args.add(quote::table(HISTORY, &history));
            let last = format!(
                "SELECT greatest(pg_catalog.pg_sequence_last_value(s), {}) FROM pg_catalog.to_regclass( \
                    pg_catalog.pg_get_serial_sequence($1, 'id')) AS s",
                capture::now()
            );
            let rows = self.fetch(last, args).await?;
            let start: i64 = get::<i64>(&rows[0], 0)?.saturating_add(1);
            let history = quote::table(HISTORY, &history);
            self.run(&format!("ALTER TABLE {history} ALTER COLUMN id RESTART WITH {start}")).await?;
        }
        self.run("UPDATE concord.node SET uuid = pg_catalog.gen_random_uuid(); DELETE FROM concord.load").await?;
        let mut args = Args::new();
        args.add(progress);
        // Unlike the progress of a load, it has to be on the disk.
        self.execute("INSERT INTO concord.load (progress) VALUES ($1)", args).await?;
        self.put_positions(positions).await?;
        self.end_change().await.map(|()| true)
    }
}

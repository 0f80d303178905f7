//! Sequences behind the keys: which they are, where they stand, and that they count in steps.

use super::install::begin;
use super::schema::get;
use super::wire::Args;
use super::{Phase, Postgres, SERVICE, quote, sql};
use crate::model::TableSpec;
use crate::node::{Error, ErrorKind, Numbered, Numbers, Result, Stepped, Steps};

/// Remembers how sequences counted before. It is there only where some were changed.
pub(super) const TABLE: &str = "sequence";

/// The sequences of a table's columns: that of an identity column, or the one that the column's default asks.
const SEQUENCES: &str = "SELECT DISTINCT a.attname::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, s.relname), \
        CASE WHEN pg_catalog.pg_has_role(s.relowner, 'USAGE') THEN '' \
            WHEN EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = s.relowner AND r.rolsuper) THEN 'superuser' \
            ELSE 'other' END \
    FROM pg_catalog.pg_attribute a \
        LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum \
        JOIN pg_catalog.pg_depend d ON (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i') \
            OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = v.oid \
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
        JOIN pg_catalog.pg_class s ON s.relkind = 'S' AND s.oid IN (d.objid, d.refobjid) \
        JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
    WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped";

/// What asks for the greatest number in a column that a sequence numbers, for each such column.
const NUMBERED_BY: &str = "SELECT DISTINCT \
        pg_catalog.format('SELECT pg_catalog.max(%I)::pg_catalog.int8 FROM %I.%I', a.attname, n.nspname, t.relname) \
    FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_class t ON t.oid = a.attrelid AND t.relkind IN ('r', 'p') \
        JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
        LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum \
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
            AND ((d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'i' \
                    AND d.objid = pg_catalog.to_regclass($1) AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum) \
                OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = v.oid \
                    AND d.refobjid = pg_catalog.to_regclass($1))) \
    WHERE a.attnum > 0 AND NOT a.attisdropped \
        AND a.atttypid = ANY (ARRAY['int2', 'int4', 'int8']::pg_catalog.regtype[]) AND pg_catalog.has_table_privilege(t.oid, 'SELECT')";

impl Postgres {
    /// The sequences of these columns, each with whose it is if it may not be altered: `other`'s, or a `superuser`'s.
    async fn sequences(&mut self, oid: i64, columns: &[String]) -> Result<Vec<(String, String, String)>> {
        let mut args = Args::new();
        args.add(oid);
        let mut found = Vec::new();
        for row in self.fetch(SEQUENCES, args).await? {
            let column: String = get(&row, 0)?;
            if columns.contains(&column) {
                found.push((column, get(&row, 1)?, get(&row, 2)?));
            }
        }
        Ok(found)
    }

    pub(super) async fn read_numbered(&mut self, oid: i64, key: &[String]) -> Result<Vec<Numbered>> {
        let role = quote::ident(&self.role);
        let numbered = self.sequences(oid, key).await?.into_iter().map(|(column, sequence, whose)| {
            // As a member of a superuser it could do whatever that may.
            let how = match whose.as_str() {
                "superuser" => format!(
                    "giving it, with its table, to an ordinary role (ALTER TABLE … OWNER TO), and making {role} a member of that"
                ),
                _ => format!("making {role} a member of its owner"),
            };
            let obstacle = format!("it may not alter the sequence {sequence}; an administrator allows it by {how}");
            Numbered {
                column,
                by: format!("the sequence {sequence}"),
                from_the_greatest: false,
                obstacle: Some(obstacle).filter(|_| !whose.is_empty()),
                server: None,
            }
        });
        Ok(numbered.collect())
    }

    /// The sequence of one column, if it has one.
    async fn sequence_of(&mut self, table: &TableSpec, column: usize) -> Result<Option<String>> {
        let oid = self
            .fetch_text("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.int8", &sql::table(table))
            .await?;
        let Some(oid) = get::<Option<i64>>(&oid[0], 0)? else {
            return Err(Error::new(ErrorKind::Drift, format!("the table {} does not exist", table.full_name())));
        };
        let name = std::slice::from_ref(&table.columns[column].name);
        Ok(self.sequences(oid, name).await?.into_iter().next().map(|(_, sequence, _)| sequence))
    }

    /// The last number that a sequence has drawn.
    async fn last_drawn(&mut self, sequence: &str) -> Result<i64> {
        let last = format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}");
        get(&self.fetch(last, Args::new()).await?[0], 0)
    }

    pub(super) async fn read_numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        let greatest = self.read_greatest(table, column, None).await?;
        let mut reach = Numbers::within(&table.columns[column].domain, greatest);
        if let Some(sequence) = self.sequence_of(table, column).await? {
            let end =
                "SELECT seqmax FROM pg_catalog.pg_sequence WHERE seqrelid = pg_catalog.to_regclass($1)::pg_catalog.oid";
            reach.most = reach.most.min(get(&self.fetch_text(end, &sequence).await?[0], 0)?);
            reach.last = greatest.max(self.last_drawn(&sequence).await?);
        }
        Ok(reach)
    }

    /// The greatest number that stands in a column, of all or of those with this remainder.
    pub(super) async fn read_greatest(
        &mut self,
        table: &TableSpec,
        column: usize,
        of: Option<(i64, i64)>,
    ) -> Result<i64> {
        let name = quote::ident(&table.columns[column].name);
        let of = of.map_or(String::new(), |(step, slot)| format!(" WHERE {name} > 0 AND {name} % {step} = {slot}"));
        let greatest = format!(
            "SELECT least(coalesce(pg_catalog.max({name}), 0), {})::pg_catalog.int8 FROM {}{of}",
            i64::MAX,
            sql::table(table)
        );
        get(&self.fetch(greatest, Args::new()).await?[0], 0)
    }

    pub(super) async fn make_steps(&mut self, table: &TableSpec, column: usize, steps: Steps) -> Result<Stepped> {
        // What waits for a sequence that somebody alters waits for these.
        self.begin(Phase::Installing, &begin()).await?;
        let Some(sequence) = self.sequence_of(table, column).await? else { return Ok(Stepped::default()) };
        let Steps { step, slot, above, own, anew } = steps;
        self.run(&format!(
            "CREATE TABLE IF NOT EXISTS {SERVICE}.{TABLE} (name text PRIMARY KEY, former int8 NOT NULL, \
             step int8 NOT NULL, slot int8 NOT NULL)"
        ))
        .await?;
        let increment = self
            .fetch_text(
                "SELECT seqincrement FROM pg_catalog.pg_sequence WHERE seqrelid = pg_catalog.to_regclass($1)",
                &sequence,
            )
            .await?;
        let former: i64 = get(&increment[0], 0)?;
        let known = self.fetch_text("SELECT step, slot FROM concord.sequence WHERE name = $1", &sequence).await?;
        let known = known.first().map(|row| Ok::<_, Error>((get::<i64>(row, 0)?, get::<i64>(row, 1)?))).transpose()?;
        let drawn = self.last_drawn(&sequence).await?;
        // Whoever has set it since may have put it out of step, and a backup knows nothing of what was drawn later.
        let next = self.next_of(&sequence).await?;
        let in_step = known == Some((step, slot)) && former == step && next.rem_euclid(step) == slot && next > own;
        if in_step && !anew {
            return Ok(Stepped::default());
        }
        // From here on nobody draws until the end of the transaction.
        self.run(&format!("ALTER SEQUENCE {sequence} INCREMENT BY {step}")).await?;
        let last = self.last_drawn(&sequence).await?.max(drawn);
        let least = last.max(above).saturating_add(1);
        let first = least.saturating_add((slot - least).rem_euclid(step));
        self.run(&format!("ALTER SEQUENCE {sequence} RESTART WITH {first}")).await?;
        let mut args = Args::new();
        args.add(sequence.as_str()).add(former).add(step).add(slot);
        self.fetch(
            "INSERT INTO concord.sequence (name, former, step, slot) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET step = excluded.step, slot = excluded.slot",
            args,
        )
        .await?;
        self.run("COMMIT").await?;
        self.phase = Phase::Idle;
        let done = format!("{}: {sequence} counts in steps of {step} from {first}", table.name);
        Ok(Stepped { last: Some(last), done: Some(done) })
    }

    /// What a sequence draws next.
    async fn next_of(&mut self, sequence: &str) -> Result<i64> {
        let next = format!(
            "SELECT CASE WHEN s.is_called THEN s.last_value + q.seqincrement ELSE s.last_value END \
             FROM {sequence} s, pg_catalog.pg_sequence q WHERE q.seqrelid = pg_catalog.to_regclass($1)"
        );
        get(&self.fetch_text(&next, sequence).await?[0], 0)
    }

    pub(super) async fn restore_steps(&mut self, keep: &[(&TableSpec, usize)]) -> Result<Vec<String>> {
        self.begin(Phase::Installing, &begin()).await?;
        let mut kept = Vec::new();
        for (table, column) in keep {
            kept.extend(self.sequence_of(table, *column).await?);
        }
        let done = self.restore(&kept).await?;
        if !done.is_empty() {
            self.run("COMMIT").await?;
            self.phase = Phase::Idle;
        }
        Ok(done)
    }

    /// Within the transaction that removes everything.
    pub(super) async fn restore_all_steps(&mut self) -> Result<()> {
        self.restore(&[]).await.map(drop)
    }

    async fn restore(&mut self, keep: &[String]) -> Result<Vec<String>> {
        let there =
            self.fetch_text("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &format!("{SERVICE}.{TABLE}")).await?;
        if !get::<bool>(&there[0], 0)? {
            return Ok(Vec::new());
        }
        let mut done = Vec::new();
        for row in self.fetch("SELECT name, former FROM concord.sequence ORDER BY name", Args::new()).await? {
            let (sequence, former): (String, i64) = (get(&row, 0)?, get(&row, 1)?);
            if keep.contains(&sequence) {
                continue;
            }
            self.run(&format!("ALTER SEQUENCE IF EXISTS {sequence} INCREMENT BY {former}")).await?;
            self.pass_over(&sequence).await?;
            self.fetch_text("DELETE FROM concord.sequence WHERE name = $1", &sequence).await?;
            done.push(format!("{sequence} counts by {former} again"));
        }
        Ok(done)
    }

    /// Lets a sequence go on beyond the rows that are there, of which those that came from other nodes lie in its way once it counts
    /// as before.
    async fn pass_over(&mut self, sequence: &str) -> Result<()> {
        let mut greatest = 0;
        for row in self.fetch_text(NUMBERED_BY, sequence).await? {
            let query: String = get(&row, 0)?;
            greatest = get::<Option<i64>>(&self.fetch(query, Args::new()).await?[0], 0)?.unwrap_or(0).max(greatest);
        }
        if greatest <= 0 || greatest <= self.last_drawn(sequence).await? {
            return Ok(());
        }
        let mut args = Args::new();
        args.add(sequence).add(greatest);
        self.fetch(
            "SELECT pg_catalog.setval(seqrelid::pg_catalog.regclass, $2) FROM pg_catalog.pg_sequence \
             WHERE seqrelid = pg_catalog.to_regclass($1) AND seqincrement > 0 AND $2 <= seqmax",
            args,
        )
        .await
        .map(drop)
    }
}

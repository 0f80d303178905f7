//! What the role may not do and needs to.

use super::schema::{get, schema_of};
use super::wire::Args;
use super::{HISTORY, Postgres, SERVICE, quote};
use crate::model::{OnGone, TableSpec};
use crate::node::{MissingRight, Result, Writes};

impl Postgres {
    pub(super) async fn read_missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        let mut missing = Vec::new();
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice());
        let rows = self
            .fetch(
                "SELECT pg_catalog.current_database()::pg_catalog.text, \
                    pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
                    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)), \
                    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1) \
                        AND pg_catalog.pg_has_role(nspowner, 'USAGE'))",
                args,
            )
            .await?;
        let database: String = get(&rows[0], 0)?;
        let (exist, ours): (i64, i64) = (get(&rows[0], 2)?, get(&rows[0], 3)?);
        if exist < 2 && !get::<bool>(&rows[0], 1)? {
            missing.push(MissingRight {
                what: format!("create schemas in database {database}"),
                grant: format!("GRANT CREATE ON DATABASE {} TO {};", quote::ident(&database), quote::ident(&self.role)),
            });
        }
        if ours < exist {
            let role = quote::ident(&self.role);
            missing.push(MissingRight {
                what: format!("own the schemas {SERVICE} and {HISTORY}, which another role created"),
                grant: format!("ALTER SCHEMA {SERVICE} OWNER TO {role}; ALTER SCHEMA {HISTORY} OWNER TO {role};"),
            });
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for table in tables {
            wanted.push(Wanted::usage(table));
            for (right, what) in [
                ("SELECT", "read"),
                ("INSERT", "insert into"),
                ("UPDATE", "update"),
                ("DELETE", "delete from"),
                ("TRIGGER", "create triggers on"),
            ] {
                if right != "TRIGGER" || table.captured {
                    wanted.push(Wanted::on(table, right, what));
                }
            }
            for leaf in table.partitions.iter().filter(|_| table.captured) {
                for (right, what) in [("TRIGGER", "create triggers on"), ("SELECT", "read")] {
                    wanted.push(Wanted {
                        table: Some(leaf.clone()),
                        right,
                        what: format!("{what} {leaf}"),
                        ..Wanted::usage(table)
                    });
                }
            }
            wanted.extend(Wanted::of_referring(table));
        }
        missing.extend(self.missing_of(wanted).await?);
        Ok(missing)
    }

    pub(super) async fn read_missing_rights_to_compare(
        &mut self,
        tables: &[(&TableSpec, Writes)],
    ) -> Result<Vec<MissingRight>> {
        let mut missing: Vec<MissingRight> = self.missing_of_service().await?.into_iter().collect();
        let mut wanted: Vec<Wanted> = Vec::new();
        for &(table, Writes { insert, update, delete }) in tables {
            wanted.extend([Wanted::usage(table), Wanted::on(table, "SELECT", "read")]);
            // A row is locked before it is replaced or deleted, for which the server wants the right to update.
            let updates = if update { "update" } else { "lock the rows, before they are deleted, of" };
            for (needed, right, what) in [
                (insert, "INSERT", "insert into"),
                (update || delete, "UPDATE", updates),
                (delete, "DELETE", "delete from"),
            ] {
                wanted.extend(needed.then(|| Wanted::on(table, right, what)));
            }
            wanted.extend(Wanted::of_referring(table).filter(|_| delete));
        }
        missing.extend(self.missing_of(wanted).await?);
        Ok(missing)
    }

    /// What is missing to read what is installed here, if anything is.
    async fn missing_of_service(&mut self) -> Result<Option<MissingRight>> {
        let readable = "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS \
                            (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname IN ('node', 'installed') \
                                AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')) \
                        FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";
        let mut args = Args::new();
        args.add(SERVICE);
        let rows = self.fetch(readable, args).await?;
        let is_hidden = rows.first().map(|row| get::<bool>(row, 0)).transpose()? == Some(false);
        let role = quote::ident(&self.role);
        Ok(is_hidden.then(|| MissingRight {
            what: "read what Concord has installed, which tells whether triggers record a table that is to be compared".to_owned(),
            grant: format!(
                "GRANT USAGE ON SCHEMA {SERVICE} TO {role}; GRANT SELECT ON {SERVICE}.node, {SERVICE}.installed TO {role};"
            ),
        }))
    }

    /// Those of the rights that the role has not.
    async fn missing_of(&mut self, wanted: Vec<Wanted>) -> Result<Vec<MissingRight>> {
        let role = quote::ident(&self.role);
        let mut missing = Vec::new();
        let mut args = Args::new();
        args.add(wanted.iter().map(|wanted| wanted.object().to_owned()).collect::<Vec<_>>())
            .add(wanted.iter().map(|wanted| wanted.right.to_owned()).collect::<Vec<_>>());
        // Looked up through the catalogue: without USAGE a name cannot be resolved.
        let rows = self
            .fetch(
                "SELECT CASE WHEN w.privilege = 'USAGE' THEN \
                        (SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_namespace n \
                            WHERE '\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\"' = w.name) \
                    ELSE (SELECT pg_catalog.has_table_privilege(c.oid, w.privilege) FROM pg_catalog.pg_class c \
                            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                            WHERE '\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\".\"' \
                                || pg_catalog.replace(c.relname, '\"', '\"\"') || '\"' = w.name \
                                OR pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) = w.name \
                            LIMIT 1) END \
                FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) WITH ORDINALITY AS w (name, privilege, n) \
                ORDER BY w.n",
                args,
            )
            .await?;
        for (row, wanted) in rows.iter().zip(wanted) {
            if get::<Option<bool>>(row, 0)? == Some(false) {
                let on = if wanted.table.is_some() { "TABLE" } else { "SCHEMA" };
                let grant = format!("GRANT {} ON {on} {} TO {role};", wanted.right, wanted.object());
                let right = MissingRight { what: wanted.what, grant };
                if !missing.contains(&right) {
                    missing.push(right);
                }
            }
        }
        Ok(missing)
    }
}

/// A right that is needed.
struct Wanted {
    /// Quoted.
    schema: String,
    /// Quoted, with its schema; without one it is a right to the schema.
    table: Option<String>,
    right: &'static str,
    /// What it is for.
    what: String,
}

impl Wanted {
    fn usage(table: &TableSpec) -> Wanted {
        let schema = schema_of(table);
        Wanted { schema: quote::ident(schema), table: None, right: "USAGE", what: format!("use schema {schema}") }
    }

    fn on(table: &TableSpec, right: &'static str, what: &str) -> Wanted {
        let name = quote::table(schema_of(table), &table.local);
        Wanted { table: Some(name), right, what: format!("{what} {}", table.full_name()), ..Wanted::usage(table) }
    }

    /// Before a row goes, Concord looks whether rows of these tables would go with it.
    fn of_referring(table: &TableSpec) -> impl Iterator<Item = Wanted> {
        table.referenced.iter().filter(|key| key.on_delete != OnGone::Refuse).map(|key| {
            let schema = key.schema.as_deref().unwrap_or("public");
            let what = format!("read {schema}.{}, whose rows refer to {}", key.table, table.full_name());
            Wanted { table: Some(quote::table(schema, &key.table)), right: "SELECT", what, ..Wanted::usage(table) }
        })
    }

    fn object(&self) -> &str {
        self.table.as_ref().unwrap_or(&self.schema)
    }
}

//! What the role may not do and needs to.

use super::schema::{get, schema_of};
use super::service::is_trusted;
use super::wire::{Args, Wire};
use super::{HISTORY, Postgres, SERVICE, quote};
use crate::model::{Column, OnGone, TableSpec};
use crate::node::{ErrorKind, MissingRight, Result, Writes};

impl Postgres {
    pub(super) async fn read_missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        let mut missing = Vec::new();
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice());
        let statement = format!(
            "SELECT pg_catalog.current_database()::pg_catalog.text, \
                pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)), \
                (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace s WHERE s.nspname = ANY ($1) \
                    AND pg_catalog.pg_has_role(s.nspowner, 'USAGE') AND {}), \
                EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = '{SERVICE}' AND c.relname = 'node')",
            is_trusted("s.nspowner")
        );
        let rows = self.fetch(statement, args).await?;
        let database: String = get(&rows[0], 0)?;
        let (exist, ours): (i64, i64) = (get(&rows[0], 2)?, get(&rows[0], 3)?);
        if exist < 2 && !get::<bool>(&rows[0], 1)? {
            missing.push(MissingRight {
                what: format!("create schemas in database {database}"),
                grant: format!("GRANT CREATE ON DATABASE {} TO {};", quote::ident(&database), quote::ident(&self.role)),
            });
        }
        if get(&rows[0], 4)? {
            missing.extend(self.missing_to_take_over(false).await?);
        } else if ours < exist {
            let role = quote::ident(&self.role);
            missing.push(MissingRight {
                what: format!("own the schemas {SERVICE} and {HISTORY}, which another role created"),
                grant: format!("ALTER SCHEMA {SERVICE} OWNER TO {role}; ALTER SCHEMA {HISTORY} OWNER TO {role};"),
            });
        }
        let types: Vec<&Column> = tables.iter().flat_map(|table| named_types(table, table.written)).collect();
        let mut wanted: Vec<Wanted> = self.wanted_for_types(&types).await?;
        for table in tables {
            wanted.push(Wanted::usage(table));
            for (right, what) in [
                ("SELECT", "read"),
                ("INSERT", "insert into"),
                ("UPDATE", "update"),
                ("DELETE", "delete from"),
                ("TRIGGER", "create triggers on"),
            ] {
                let is_needed = match right {
                    "SELECT" => true,
                    "TRIGGER" => table.captured,
                    _ => table.written,
                };
                if is_needed {
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
            wanted.extend(Wanted::of_referring(table).filter(|_| table.written && table.deletes));
        }
        missing.extend(self.missing_of(wanted).await?);
        let written: Vec<&TableSpec> = tables.iter().filter(|table| table.written).collect();
        missing.extend(self.missing_for_defaults(&written).await?);
        Ok(missing)
    }

    pub(super) async fn read_missing_rights_to_compare(
        &mut self,
        tables: &[(&TableSpec, Writes)],
    ) -> Result<Vec<MissingRight>> {
        let mut missing: Vec<MissingRight> = self.missing_of_service().await?.into_iter().collect();
        if tables.iter().any(|(_, writes)| *writes != Writes::default()) {
            missing.extend(self.read_only().await?);
        }
        let filled: Vec<&TableSpec> =
            tables.iter().filter(|(_, writes)| writes.insert).map(|(table, _)| *table).collect();
        let types: Vec<&Column> =
            tables.iter().flat_map(|&(table, writes)| named_types(table, writes != Writes::default())).collect();
        let mut wanted: Vec<Wanted> = self.wanted_for_types(&types).await?;
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
        missing.extend(self.missing_for_defaults(&filled).await?);
        Ok(missing)
    }

    /// What is missing to go on with what another role has installed: to be a member of it, by which nobody loses anything. With the schemas
    /// alone users' writes would fail, since the triggers go on with that role's rights. Where nobody should or could be made a member,
    /// all changes hands as a whole. Where the rights to rows are there, tables may be another's as long as nothing is to be done to them
    /// themselves, unless it is `owned` that is needed.
    pub(super) async fn missing_to_take_over(&mut self, owned: bool) -> Result<Vec<MissingRight>> {
        let mut args = Args::new();
        args.add([SERVICE, HISTORY].as_slice()).add(owned);
        // A member of a superuser could do whatever he may; pg_database_owner has no members but one. An administrator may make nobody
        // a member of his own role, nor of one that is itself a member of Concord's.
        let statement = "SELECT DISTINCT pg_catalog.pg_get_userbyid(o.owner)::pg_catalog.text, \
                EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = o.owner \
                    AND (r.rolsuper OR r.rolname = 'pg_database_owner')), \
                EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = o.owner \
                    AND (r.rolcreaterole OR pg_catalog.pg_has_role(r.oid, current_user, 'MEMBER'))), \
                pg_catalog.pg_has_role(o.owner, 'MEMBER'), \
                (SELECT r.rolinherit FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), \
                pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000 \
            FROM (SELECT n.nspowner AS owner, true AS needed FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1) \
                UNION ALL SELECT p.proowner, true FROM pg_catalog.pg_proc p \
                    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY ($1) \
                UNION ALL SELECT c.relowner, $2::pg_catalog.bool OR NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT') \
                        AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') \
                        AND pg_catalog.has_table_privilege(c.oid, 'DELETE')) \
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = ANY ($1) AND c.relkind = 'r') o \
            WHERE o.needed AND NOT pg_catalog.pg_has_role(o.owner, 'USAGE') ORDER BY 2 DESC, 3 DESC, 1";
        let role = quote::ident(&self.role);
        let mut missing = Vec::new();
        for row in self.fetch(statement, args).await? {
            let name: String = get(&row, 0)?;
            let owner = quote::ident(&name);
            let (is_member, inherits): (bool, bool) = (get(&row, 3)?, get(&row, 4)?);
            let what = format!("take over what the role {name} has installed (in the schemas {SERVICE} and {HISTORY}");
            let how = if get(&row, 1)? {
                Some(hand_over(&self.role))
            } else if get(&row, 2)? && !is_member {
                // Who is no superuser hands over to roles that he is a member of.
                Some(format!("GRANT {role} TO {owner}; {}", hand_over(&self.role)))
            } else {
                None
            };
            if let Some(grant) = how {
                // The triggers read them with its rights as soon as it was run, and what else is missing is perhaps told only then.
                let what =
                    format!("{what}; grant SELECT on the synced tables before, as users' TRUNCATE needs it then)");
                return Ok(vec![MissingRight { what, grant }]);
            }
            let grant = membership(&owner, &role, is_member, inherits, get(&row, 5)?);
            missing.push(MissingRight { what: format!("{what})"), grant });
        }
        Ok(missing)
    }

    /// Tells with an error about a right the statement that grants it, as far as it is about a schema of the database or, where `installed`
    /// tables were asked for, about what another role has installed. What was begun is given up to be able to ask.
    pub(super) async fn with_grant<T>(&mut self, done: Result<T>, installed: bool) -> Result<T> {
        let error = match done {
            Err(error) if error.kind == ErrorKind::Rights => error,
            done => return done,
        };
        self.close().await;
        // It is told all the same if nobody can be asked.
        match self.find_grant(&error.to_string(), installed).await {
            Ok(Some(grant)) => Err(error.with(grant)),
            _ => Err(error),
        }
    }

    /// The server names the schema at the end, in nearly every language, and names tables alike.
    async fn find_grant(&mut self, told: &str, installed: bool) -> Result<Option<String>> {
        self.open().await?;
        let between = |letter: char| letter.is_whitespace() || "\"'«»„“”".contains(letter);
        let last = told.rsplit(between).find(|word| !word.is_empty() && !word.starts_with('['));
        let mut args = Args::new();
        args.add(last.unwrap_or_default()).add([SERVICE, HISTORY].as_slice());
        let unused = "SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.nspname = $1 \
                      AND NOT n.nspname = ANY ($2) AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname = n.nspname \
                        AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'))";
        if let Some(schema) = self.names(unused, args).await?.first() {
            let (schema, role) = (quote::ident(schema), quote::ident(&self.role));
            return Ok(Some(format!("an administrator grants it with: GRANT USAGE ON SCHEMA {schema} TO {role};")));
        }
        let missing = if installed { self.missing_to_take_over(true).await? } else { Vec::new() };
        let grants: Vec<&str> = missing.iter().map(|right| right.grant.as_str()).collect();
        let told = |right: &MissingRight| {
            format!(
                "it may not {}; run `concord install` once an administrator has run: {}",
                right.what,
                grants.join(" ")
            )
        };
        Ok(missing.first().map(told))
    }

    /// What keeps everybody from writing for the time being.
    async fn read_only(&mut self) -> Result<Option<MissingRight>> {
        let statement = "SELECT s.source, pg_catalog.current_database()::pg_catalog.text FROM pg_catalog.pg_settings s \
                         WHERE s.name = 'default_transaction_read_only' AND s.setting = 'on'";
        let rows = self.fetch(statement, Args::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (source, database): (String, String) = (get(row, 0)?, get(row, 1)?);
        let (role, database) = (quote::ident(&self.role), quote::ident(&database));
        let whose = match source.as_str() {
            "user" => format!("ROLE {role} RESET default_transaction_read_only"),
            "database user" => format!("ROLE {role} IN DATABASE {database} RESET default_transaction_read_only"),
            "database" => format!("DATABASE {database} RESET default_transaction_read_only"),
            _ => format!("DATABASE {database} SET default_transaction_read_only = off"),
        };
        // The administrator's session is read-only as well.
        let grant = format!("BEGIN READ WRITE; ALTER {whose}; COMMIT;");
        let what = "write anything while default_transaction_read_only is on, as where a disk is full".to_owned();
        Ok(Some(MissingRight { what, grant }))
    }

    /// The use of schemas by whose names values are cast to types, and compared.
    async fn wanted_for_types(&mut self, columns: &[&Column]) -> Result<Vec<Wanted>> {
        let (mut types, mut schemas) = (Vec::new(), Vec::new());
        for column in columns {
            if let Wire::Native(native) = Wire::of(column) {
                schemas.extend(self.equality(&native).rsplit_once('.').map(|(schema, _)| schema.to_owned()));
                types.push(native);
            }
        }
        if types.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = Args::new();
        args.add(types).add(schemas);
        let found = self
            .names(
                "SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.nspname <> 'pg_catalog' \
                    AND (pg_catalog.quote_ident(n.nspname) = ANY ($2::pg_catalog.text[]) \
                        OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid \
                            AND pg_catalog.format_type(t.oid, -1) = ANY ($1::pg_catalog.text[]))) ORDER BY 1",
                args,
            )
            .await?;
        Ok(found.iter().map(|schema| Wanted::schema(schema)).collect())
    }

    /// What is missing to insert rows where the default of a column that is not written draws a number.
    async fn missing_for_defaults(&mut self, tables: &[&TableSpec]) -> Result<Vec<MissingRight>> {
        let mut written: [Vec<String>; 3] = Default::default();
        for table in tables {
            for column in &table.columns {
                let names = [schema_of(table), table.local.as_str(), column.name.as_str()];
                written.iter_mut().zip(names).for_each(|(list, name)| list.push(name.to_owned()));
            }
        }
        let mut args = Args::new();
        for list in written {
            args.add(list);
        }
        let rows = self
            .fetch(
                "WITH written AS (SELECT * FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[], $3::pg_catalog.text[]) \
                    AS w (schema, name, col)) \
                 SELECT DISTINCT pg_catalog.format('%I.%I', sn.nspname, s.relname), n.nspname || '.' || c.relname \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                    JOIN pg_catalog.pg_attrdef v ON v.adrelid = c.oid AND v.adnum = a.attnum \
                    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass \
                        AND d.objid = v.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                    JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' \
                    JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
                 WHERE (n.nspname, c.relname) IN (SELECT w.schema, w.name FROM written w) \
                    AND NOT EXISTS (SELECT FROM written w \
                        WHERE w.schema = n.nspname AND w.name = c.relname AND w.col = a.attname) \
                    AND CASE WHEN s.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE, UPDATE') END \
                 ORDER BY 1, 2",
                args,
            )
            .await?;
        let role = quote::ident(&self.role);
        let right = |row| {
            let (sequence, table): (String, String) = (get(row, 0)?, get(row, 1)?);
            let what =
                format!("draw numbers from {sequence}, as the default of a column of {table} does that is not synced");
            Ok(MissingRight { what, grant: format!("GRANT USAGE ON SEQUENCE {sequence} TO {role};") })
        };
        rows.iter().map(right).collect()
    }

    /// What is missing to see all rows that refer to rows of a table and would go with them.
    pub(super) async fn missing_to_see_referring(&mut self, table: &TableSpec) -> Result<Option<MissingRight>> {
        let wanted = Wanted::of_referring(table).filter(|wanted| wanted.right == ALL_ROWS).collect();
        Ok(self.missing_of(wanted).await?.into_iter().next())
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
            .look_up(
                "SELECT CASE WHEN w.privilege = 'USAGE' THEN \
                        (SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_namespace n \
                            WHERE '\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\"' = w.name) \
                    ELSE (SELECT CASE WHEN w.privilege = 'BYPASSRLS' THEN NOT pg_catalog.row_security_active(c.oid) \
                                ELSE pg_catalog.has_table_privilege(c.oid, w.privilege) END FROM pg_catalog.pg_class c \
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
                let grant = match wanted.right {
                    ALL_ROWS => format!("ALTER ROLE {role} {ALL_ROWS};"),
                    right => format!("GRANT {right} ON {on} {} TO {role};", wanted.object()),
                };
                let right = MissingRight { what: wanted.what, grant };
                if !missing.contains(&right) {
                    missing.push(right);
                }
            }
        }
        Ok(missing)
    }
}

/// Columns of types that are named in statements. Where nothing is written the values of the others are only read, as texts.
fn named_types(table: &TableSpec, written: bool) -> impl Iterator<Item = &Column> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter(move |(at, _)| written || table.key.contains(at) || table.images.contains(at))
        .map(|(_, column)| column)
}

/// The statements by which a role may do what another one may, that it is a member of perhaps already, but without inheriting its rights.
fn membership(owner: &str, role: &str, is_member: bool, inherits: bool, each_inherits: bool) -> String {
    let grant = format!("GRANT {owner} TO {role}");
    match (is_member, inherits) {
        // Since PostgreSQL 16 it is the membership that says so.
        (true, _) | (_, false) if each_inherits => format!("{grant} WITH INHERIT TRUE;"),
        // If it is a member, then by way of a role that inherits nothing.
        (_, true) => format!("{grant};"),
        (true, false) => format!("ALTER ROLE {role} INHERIT;"),
        (false, false) => format!("{grant}; ALTER ROLE {role} INHERIT;"),
    }
}

/// The statement that gives a role all that is installed, at one blow: between one object and the next users' writes would fail. The schemas
/// come first, since who gives them away and is no superuser may use the rest as a member of the role only.
fn hand_over(role: &str) -> String {
    let ours = format!("n.nspname IN ('{SERVICE}', '{HISTORY}')");
    let text = format!(
        "DECLARE o text; BEGIN FOR o IN \
         SELECT format('SCHEMA %I', n.nspname) FROM pg_namespace n WHERE {ours} \
         UNION ALL SELECT format('TABLE %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE {ours} AND c.relkind = 'r' \
         UNION ALL SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE {ours} \
         LOOP EXECUTE format('ALTER %s OWNER TO %I', o, {}); END LOOP; END",
        quote::literal(role)
    );
    // On one line, as others tell it.
    format!("DO {};", quote::body(&text).replace('\n', " "))
}

/// The right to the rows that policies hide.
const ALL_ROWS: &str = "BYPASSRLS";

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
        Wanted::schema(schema_of(table))
    }

    fn schema(schema: &str) -> Wanted {
        Wanted { schema: quote::ident(schema), table: None, right: "USAGE", what: format!("use schema {schema}") }
    }

    fn on(table: &TableSpec, right: &'static str, what: &str) -> Wanted {
        let name = quote::table(schema_of(table), &table.local);
        Wanted { table: Some(name), right, what: format!("{what} {}", table.full_name()), ..Wanted::usage(table) }
    }

    /// Before a row goes, Concord looks whether rows of these tables would go with it. They do go, whether it sees them or not.
    fn of_referring(table: &TableSpec) -> impl Iterator<Item = Wanted> {
        let keys = table.referenced.iter().filter(|key| key.on_delete != OnGone::Refuse);
        keys.flat_map(|key| [("SELECT", "read"), (ALL_ROWS, "see all rows of")].map(|(right, what)| (key, right, what)))
            .map(|(key, right, what)| {
                let schema = key.schema.as_deref().unwrap_or("public");
                let what = format!("{what} {schema}.{}, whose rows refer to {}", key.table, table.full_name());
                Wanted { table: Some(quote::table(schema, &key.table)), right, what, ..Wanted::usage(table) }
            })
    }

    fn object(&self) -> &str {
        self.table.as_ref().unwrap_or(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_to_inherit() {
        for (is_member, inherits, before_16, since_16) in [
            (false, true, "GRANT a TO b;", "GRANT a TO b;"),
            (false, false, "GRANT a TO b; ALTER ROLE b INHERIT;", "GRANT a TO b WITH INHERIT TRUE;"),
            (true, false, "ALTER ROLE b INHERIT;", "GRANT a TO b WITH INHERIT TRUE;"),
            (true, true, "GRANT a TO b;", "GRANT a TO b WITH INHERIT TRUE;"),
        ] {
            assert_eq!(membership("a", "b", is_member, inherits, false), before_16);
            assert_eq!(membership("a", "b", is_member, inherits, true), since_16);
        }
    }
}

//! What the catalogue says: tables, columns, keys, references, rights, and who the server is.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::types::{NativeType, Piece, Pieces};
use super::wire::Args;
use super::{HISTORY, Postgres, SERVICE, failure, quote};
use crate::model::{Domain, ForeignKey, Lack, OnGone, TableSpec, Unique};
use crate::node::{Catalogue, CatalogueColumn, Probe, Result};

/// Reads a column of a result that the statement itself defines.
pub fn get<'r, T>(row: &'r PgRow, at: usize) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(at).map_err(failure::error)
}

const TABLE: &str = "SELECT c.oid::pg_catalog.int8, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
        c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text, c.relispartition, \
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid), \
        (SELECT i.inhparent::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_inherits i \
            WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1), \
        c.relhasrules, pg_catalog.row_security_active(c.oid) OR EXISTS \
            (SELECT FROM pg_catalog.pg_partition_tree(c.oid) p WHERE pg_catalog.row_security_active(p.relid)), \
        NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s \
            WHERE s.srrelid = c.oid OR s.srrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p)), \
        pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text, \
        EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = c.relowner AND o.rolsuper) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
        AND ((n.nspname = ANY ($2) AND c.relname = $1) OR n.nspname || '.' || c.relname = $1) \
    ORDER BY pg_catalog.array_position($2, n.nspname::pg_catalog.text) NULLS LAST LIMIT 1";

/// Columns with domains followed down to what they are made of. A modifier of -1 makes `format_type` name the type in a
/// way that SQL does not read as a length of 1.
const COLUMNS: &str = "WITH RECURSIVE base (att, oid, modifier, never_null) AS ( \
        SELECT a.attnum, a.atttypid, a.atttypmod, a.attnotnull FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped \
    UNION ALL \
        SELECT b.att, t.typbasetype, t.typtypmod, b.never_null OR t.typnotnull \
        FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype = 'd') \
    SELECT a.attname::pg_catalog.text, NOT b.never_null, a.attgenerated <> '', a.attidentity::pg_catalog.text, \
        n.nspname::pg_catalog.text, t.typname::pg_catalog.text, t.typtype::pg_catalog.text, \
        t.typcategory::pg_catalog.text, b.modifier, pg_catalog.format_type(t.oid, b.modifier), \
        pg_catalog.format_type(t.oid, -1), pg_catalog.quote_ident(n.nspname) || '.', \
        e.typname::pg_catalog.text, en.nspname::pg_catalog.text, \
        ARRAY(SELECT l.enumlabel::pg_catalog.text FROM pg_catalog.pg_enum l \
            WHERE l.enumtypid OPERATOR(pg_catalog.=) coalesce(e.oid, t.oid) ORDER BY l.enumlabel), \
        t.oid::pg_catalog.int8 \
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype <> 'd' \
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum = b.att \
        LEFT JOIN pg_catalog.pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem \
        LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace \
    ORDER BY a.attnum";

/// What the types of columns are made of, and these again, with modifiers: domains, arrays, and the composite types and ranges that
/// are not the server's. PostgreSQL 13 has no multiranges, so their column of the catalogue is asked for by way of JSON.
const PIECES: &str = "WITH RECURSIVE whole (oid) AS ( \
        SELECT a.atttypid FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped \
    UNION SELECT p.oid FROM whole w JOIN piece p ON p.whole = w.oid), \
    own (oid, kind, typrelid) AS ( \
        SELECT t.oid, t.typtype, t.typrelid FROM pg_catalog.pg_type t \
            JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace AND n.nspname <> 'pg_catalog'), \
    piece (whole, kind, at, name, oid, modifier) AS ( \
        SELECT t.oid, 'd', 0, NULL, t.typbasetype, t.typtypmod FROM pg_catalog.pg_type t WHERE t.typtype = 'd' \
    UNION ALL SELECT t.oid, 'A', 0, NULL, t.typelem, -1 FROM pg_catalog.pg_type t \
        WHERE t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0 \
    UNION ALL SELECT o.oid, 'r', 0, NULL, r.rngsubtype, -1 FROM pg_catalog.pg_range r JOIN own o ON o.oid = r.rngtypid \
    UNION ALL SELECT o.oid, 'm', 0, NULL, r.rngtypid, -1 FROM pg_catalog.pg_range r \
        JOIN own o ON o.oid::pg_catalog.text = pg_catalog.to_jsonb(r) ->> 'rngmultitypid' \
    UNION ALL SELECT o.oid, 'c', a.attnum, pg_catalog.quote_ident(a.attname), a.atttypid, a.atttypmod FROM own o \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.typrelid AND a.attnum > 0 AND NOT a.attisdropped \
        WHERE o.kind = 'c') \
    SELECT w.oid::pg_catalog.int8, p.kind::pg_catalog.text, p.name::pg_catalog.text, p.oid::pg_catalog.int8, \
        pg_catalog.format_type(p.oid, p.modifier), pg_catalog.quote_ident(n.nspname) || '.' \
    FROM whole w JOIN piece p ON p.whole = w.oid JOIN pg_catalog.pg_type t ON t.oid = p.oid \
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ORDER BY w.oid, p.at";

/// The condition that an index `i` takes the values of its column `a`, at the place `k.at`, for equal just when the column does: by the
/// column's collation, or one that like it tells all texts apart, and by the `=` of the type's own operator class, as classes for
/// patterns have it. A class of another type is none of these where the type has one itself, as citext has besides that of text.
pub(super) const ORDINARY: &str = "(i.indcollation[k.at - 1] = a.attcollation OR \
        (SELECT pg_catalog.bool_and(l.collisdeterministic) FROM pg_catalog.pg_collation l \
            WHERE l.oid IN (i.indcollation[k.at - 1], a.attcollation)) IS TRUE) \
    AND EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.oid = i.indclass[k.at - 1] \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_opclass d ON d.opcintype IN (t.oid, t.typbasetype) \
            WHERE t.oid = a.atttypid AND d.opcmethod = o.opcmethod AND d.opcdefault AND d.opcintype <> o.opcintype) \
        AND (o.opcdefault OR EXISTS (SELECT FROM pg_catalog.pg_amop m \
                JOIN pg_catalog.pg_amop n ON n.amopopr = m.amopopr AND n.amopstrategy = m.amopstrategy \
                JOIN pg_catalog.pg_opclass d ON d.opcfamily = n.amopfamily AND d.opcmethod = n.amopmethod \
            WHERE m.amopfamily = o.opcfamily AND m.amoplefttype = o.opcintype AND m.amoprighttype = o.opcintype \
                AND m.amopstrategy = 3::pg_catalog.int2 AND m.amopmethod = n.amopmethod \
                AND d.opcintype = o.opcintype AND d.opcdefault)))";

/// Unique indexes and exclusion constraints, those that can be keys first: the primary key, then by age. Whether they
/// compare just columns, by the columns' own `=` and with NULL equal to nothing; whether they can be a key, which has to tell apart what
/// the columns do; the columns.
fn unique_indexes() -> String {
    format!(
        "SELECT c.relname::pg_catalog.text, \
        i.indisunique AND NOT i.indisexclusion AND i.indexprs IS NULL AND i.indpred IS NULL AND k.ordinary \
            AND coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false', \
        i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL AND k.never_null AND k.ordinary, k.names \
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid, \
        LATERAL (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.at) AS names, \
                pg_catalog.bool_and(a.attnotnull) AS never_null, \
                pg_catalog.bool_and({ORDINARY}) AS ordinary \
            FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
            WHERE k.at <= i.indnkeyatts) k \
    WHERE i.indrelid = $1::pg_catalog.int8::pg_catalog.oid AND (i.indisunique OR i.indisexclusion) AND i.indisvalid \
    ORDER BY i.indisprimary DESC, c.oid"
    )
}

/// References in either direction, those to a partition as to the whole; those that the server derives for partitions are left out.
const REFERENCES: &str = "SELECT f.conname::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS k (attnum, at) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum ORDER BY k.at), \
        rn.nspname::pg_catalog.text, r.relname::pg_catalog.text, \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS k (attnum, at) \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum ORDER BY k.at), \
        f.confdeltype::pg_catalog.text, f.conrelid = $1::pg_catalog.int8::pg_catalog.oid, h.refers, \
        f.confupdtype IN ('c', 'n', 'd') \
    FROM pg_catalog.pg_constraint f \
        CROSS JOIN LATERAL (SELECT f.confrelid = $1::pg_catalog.int8::pg_catalog.oid OR f.confrelid IN \
            (SELECT p.relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.int8::pg_catalog.oid) p) AS refers) h \
        JOIN pg_catalog.pg_class c ON c.oid = f.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_class r ON r.oid = CASE WHEN h.refers THEN $1::pg_catalog.int8::pg_catalog.oid ELSE f.confrelid END \
        JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
    WHERE f.contype = 'f' AND f.conparentid = 0 AND (f.conrelid = $1::pg_catalog.int8::pg_catalog.oid OR h.refers) \
    ORDER BY f.conname, n.nspname, c.relname";

/// A query for the names of users' triggers that fire on what Concord writes, on the table of this oid and its partitions; also for where
/// the search path is the role's. The functions are looked up one by one, as a join reads all of the database's for each table.
pub fn user_triggers(oid: &str) -> String {
    format!(
        "SELECT g.tgname::pg_catalog.text AS name FROM pg_catalog.pg_trigger g \
        WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') \
            AND (SELECT f.pronamespace FROM pg_catalog.pg_proc f WHERE f.oid = g.tgfoid) IS DISTINCT FROM \
                (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = '{HISTORY}'::pg_catalog.name) \
            AND g.tgrelid = ANY (ARRAY (SELECT {oid} UNION ALL \
                SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree({oid}) p))"
    )
}

const PARTITIONS: &str = "SELECT relid::pg_catalog.regclass::pg_catalog.text \
    FROM pg_catalog.pg_partition_tree($1::pg_catalog.int8::pg_catalog.oid) WHERE level > 0 ORDER BY 1";

/// Columns whose collation takes different texts for equal.
const LENIENT: &str = "SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
    WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND NOT c.collisdeterministic";

/// What the type of each column is made of, and whether that calls two spellings equal. A column of numbers or padded texts is
/// read as what they are, but inside of another type they are compared as text. PostgreSQL 13 has no multiranges, so their
/// column of the catalogue is asked for by way of JSON.
const PARTS: &str = "WITH RECURSIVE part (att, oid, inside) AS ( \
        SELECT a.attname, a.atttypid, false FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid = $1::pg_catalog.int8::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped \
    UNION \
        SELECT p.att, o.oid, p.inside OR o.inside FROM part p JOIN pg_catalog.pg_type t ON t.oid = p.oid, LATERAL ( \
            SELECT t.typbasetype AS oid, false AS inside WHERE t.typtype = 'd' \
        UNION ALL \
            SELECT t.typelem, true WHERE t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0 \
        UNION ALL \
            SELECT r.rngsubtype, true FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid \
                OR pg_catalog.to_jsonb(r) ->> 'rngmultitypid' = t.oid::pg_catalog.text \
        UNION ALL \
            SELECT a.atttypid, true FROM pg_catalog.pg_attribute a \
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) o) \
    SELECT p.att::pg_catalog.text, p.inside, pg_catalog.format_type(p.oid, -1), n.nspname = 'pg_catalog' \
        AND (t.typname = 'interval' \
            OR p.inside AND t.typname IN ('numeric', 'bpchar', 'float4', 'float8', 'jsonb')) \
    FROM part p JOIN pg_catalog.pg_type t ON t.oid = p.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace";

/// Why a server that follows another is left alone.
pub const REPLICA: &str =
    "the server is a replica, which sees commits in another order and takes no writes; connect to the primary";

/// The operator by which built-in types compare.
const BUILT_IN: &str = "pg_catalog.=";

const ENUMS: &str = "SELECT pg_catalog.format_type(oid, -1) FROM pg_catalog.pg_type WHERE typtype = 'e'";

/// Types that compare by an operator of their own, such as citext, and domains over them.
const EQUALITIES: &str = "WITH RECURSIVE own (oid, operator) AS ( \
        SELECT c.opcintype, pg_catalog.quote_ident(n.nspname) || '.' || o.oprname \
        FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree' \
            JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype \
                AND p.amoprighttype = c.opcintype AND p.amopstrategy = 3 \
            JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr \
            JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace \
        WHERE c.opcdefault AND n.nspname <> 'pg_catalog' \
    UNION ALL \
        SELECT t.oid, b.operator FROM own b JOIN pg_catalog.pg_type t ON t.typtype = 'd' AND t.typbasetype = b.oid) \
    SELECT pg_catalog.format_type(oid, -1), operator FROM own";

/// Whether a type is one of those that PostgreSQL itself brings and Concord reads in binary form.
fn is_built_in(domain: &Domain) -> bool {
    !matches!(domain, Domain::Native(_) | Domain::Loose { .. } | Domain::Unsupported(_))
}

impl Postgres {
    pub(super) async fn read_probe(&mut self) -> Result<Probe> {
        let rows = self
            .fetch(
                "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
                    pg_catalog.current_setting('server_version'), session_user::pg_catalog.text, \
                    pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('fsync'), \
                    pg_catalog.current_setting('full_page_writes'), pg_catalog.current_setting('server_encoding'), \
                    d.oid::pg_catalog.int8, d.datname::pg_catalog.text, \
                    pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'), \
                    pg_catalog.current_setting('transaction_read_only'), \
                    EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = session_user AND r.rolsuper) \
                FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
                Args::new(),
            )
            .await?;
        let row = &rows[0];
        let (version, role): (i32, String) = (get(row, 0)?, get(row, 2)?);
        let mut warnings = Vec::new();
        let mut refusals = Vec::new();
        if version < 130_000 {
            refusals.push("the server is older than PostgreSQL 13; upgrade it".to_owned());
        }
        if get(row, 3)? {
            refusals.push(REPLICA.to_owned());
        }
        let read_only: String = get(row, 10)?;
        if read_only == "on" && refusals.is_empty() {
            refusals.push("transactions are read-only here; set default_transaction_read_only to off".to_owned());
        }
        for (at, name) in [(4, "fsync"), (5, "full_page_writes")] {
            let value: String = get(row, at)?;
            if value == "off" {
                warnings.push(format!(
                    "{name} is off: a crash of the machine can damage this database or lose what others think it holds"
                ));
            }
        }
        if get(row, 11)? {
            warnings.push(format!(
                "the role {role} is a superuser, and runs the triggers and functions of whoever has some on the tables that Concord writes; \
                 let Concord log in as a role of its own (docs/triggers.md)"
            ));
        }
        let encoding: String = get(row, 6)?;
        if encoding != "UTF8" {
            refusals.push(format!(
                "the database has the encoding {encoding}, in which what other nodes may hold cannot be written, nor looked for, nor kept \
                 until somebody decides; move its tables into one that was created with ENCODING 'UTF8' (pg_dump, createdb, psql)"
            ));
        }
        let (oid, may_ask): (i64, bool) = (get(row, 7)?, get(row, 9)?);
        let identity = if may_ask {
            // A server that began as a copy of another's files keeps its number, but was not started at the same moment.
            let asked = "SELECT system_identifier, pg_catalog.pg_postmaster_start_time()::pg_catalog.text \
                         FROM pg_catalog.pg_control_system()";
            let system = self.fetch(asked, Args::new()).await?;
            format!("postgres:{}:{}:{oid}", get::<i64>(&system[0], 0)?, get::<String>(&system[0], 1)?)
        } else {
            refusals.push(format!(
                "which server this is cannot be told; run GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {}",
                quote::ident(&role)
            ));
            String::new()
        };
        let version: String = get(row, 1)?;
        let version = version.split(' ').next().unwrap_or_default();
        Ok(Probe { server: format!("PostgreSQL {version}"), role, identity, warnings, refusals })
    }

    /// Learns which types have an `=` of their own, and which are enums.
    pub(super) async fn read_equalities(&mut self) -> Result<()> {
        self.enums = self.names(ENUMS, Args::new()).await?.into_iter().collect();
        let rows = self.look_up(EQUALITIES, Args::new()).await?;
        self.equalities = Some(rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_>>()?);
        Ok(())
    }

    /// Makes sure that they are known where tables have types that are not built in.
    pub(super) async fn know_equalities(&mut self, tables: &[TableSpec]) -> Result<()> {
        let all_built_in = || tables.iter().flat_map(|table| &table.columns).all(|column| is_built_in(&column.domain));
        if self.equalities.is_none() && !all_built_in() { self.read_equalities().await } else { Ok(()) }
    }

    /// The operator by which a type compares.
    pub(super) fn equality(&self, native: &str) -> &str {
        self.equalities.as_ref().and_then(|known| known.get(native)).map_or(BUILT_IN, String::as_str)
    }

    pub(super) fn is_enum(&self, native: &str) -> bool {
        self.enums.contains(native)
    }

    pub(super) async fn read_catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        let mut args = Args::new();
        args.add(table).add(self.path.clone());
        let found = self.fetch(TABLE, args).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let oid: i64 = get(row, 0)?;
        let schema: String = get(row, 1)?;
        let name: String = get(row, 2)?;
        let full = format!("{schema}.{name}");
        let kind: String = get(row, 3)?;
        let mut refusals = refusals(row, &full, &schema, &kind, &self.role)?;

        let mut columns = Vec::new();
        let mut types: Vec<i64> = Vec::new();
        let mut identities = Vec::new();
        for row in self.fetch(COLUMNS, one(oid)).await? {
            let (column, identity) = column(&row)?;
            if identity == "a" {
                identities.push(column.name.clone());
            }
            columns.push(column);
            types.push(get(&row, 15)?);
        }
        if !columns.iter().all(|column| is_built_in(&column.domain)) {
            // The type may be younger than the session.
            self.read_equalities().await?;
            let pieces = self.read_pieces(oid).await?;
            for (column, ty) in columns.iter_mut().zip(types) {
                if let Domain::Native(name) = &mut column.domain {
                    *name = pieces.spell(ty, name);
                }
            }
        }

        let mut key = Vec::new();
        let mut uniques = Vec::new();
        for row in self.fetch(unique_indexes(), one(oid)).await? {
            let (plain, can_be_key): (bool, bool) = (get(&row, 1)?, get(&row, 2)?);
            let names: Vec<String> = get::<Option<_>>(&row, 3)?.unwrap_or_default();
            if can_be_key && key.is_empty() {
                key = names;
            } else {
                uniques.push(Unique { name: get(&row, 0)?, columns: if plain { names } else { Vec::new() } });
            }
        }
        if key.is_empty() && matches!(kind.as_str(), "r" | "p") {
            refusals.push(format!(
                "{full} has no key by which its rows can be told apart; add one: ALTER TABLE {} ADD PRIMARY KEY (...)",
                quote::table(&schema, &name)
            ));
        }
        let mut lenient = self.names(LENIENT, one(oid)).await?;
        if columns.iter().any(|column| key.contains(&column.name) && !is_built_in(&column.domain)) {
            lenient.extend(self.spelled_twice(oid).await?);
        }
        for column in &columns {
            let in_key = key.contains(&column.name);
            // Two spellings of one key would be two rows to Concord and one to the database.
            if in_key && (lenient.contains(&column.name) || self.equality(&column.native) != BUILT_IN) {
                refusals.push(format!(
                    "{full}: key column {} ({}) takes different values for equal; identify rows by a type and a collation \
                     that do not, such as text COLLATE \"C\"",
                    column.name, column.native
                ));
            }
            if in_key && column.generated {
                refusals.push(format!(
                    "{full}: key column {} is computed by the database and cannot be written; give the table another key",
                    column.name
                ));
            }
            if !in_key && identities.contains(&column.name) {
                refusals.push(format!(
                    "{full}: column {} is GENERATED ALWAYS AS IDENTITY outside of the key and cannot be written; run \
                     ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT",
                    column.name,
                    quote::table(&schema, &name),
                    quote::ident(&column.name)
                ));
            }
        }

        let mut references = Vec::new();
        let mut referenced = Vec::new();
        for row in self.fetch(REFERENCES, one(oid)).await? {
            let reference = reference(&row)?;
            if get(&row, 8)? {
                references.push(reference.clone());
            }
            if get(&row, 9)? {
                referenced.push(reference);
            }
        }
        let triggers = user_triggers("$1::pg_catalog.int8::pg_catalog.oid");
        let user_triggers =
            self.names(&format!("SELECT DISTINCT g.name FROM ({triggers}) g ORDER BY 1"), one(oid)).await?;
        let partitions = if kind == "p" { self.names(PARTITIONS, one(oid)).await? } else { Vec::new() };
        let numbered = self.read_numbered(oid, &key).await?;
        Ok(Some(Catalogue {
            schema: Some(schema),
            name,
            columns,
            key,
            uniques,
            references,
            referenced,
            user_triggers,
            partitioned: kind == "p",
            partitions,
            refusals,
            written_refusals: Vec::new(),
            numbered,
        }))
    }

    async fn read_pieces(&mut self, oid: i64) -> Result<Pieces> {
        let mut pieces = Pieces::default();
        for row in self.fetch(PIECES, one(oid)).await? {
            let of: String = get(&row, 1)?;
            pieces.0.entry(get(&row, 0)?).or_default().push(Piece {
                of: of.chars().next().unwrap_or(' '),
                name: get(&row, 2)?,
                oid: get(&row, 3)?,
                full: get(&row, 4)?,
                prefix: get(&row, 5)?,
            });
        }
        Ok(pieces)
    }

    /// Columns of types that take two spellings for equal, or hold something of such a type.
    async fn spelled_twice(&mut self, oid: i64) -> Result<Vec<String>> {
        let mut columns = Vec::new();
        for row in self.fetch(PARTS, one(oid)).await? {
            let (inside, part, twice): (bool, String, bool) = (get(&row, 1)?, get(&row, 2)?, get(&row, 3)?);
            if twice || inside && self.equality(&part) != BUILT_IN {
                columns.push(get(&row, 0)?);
            }
        }
        Ok(columns)
    }

    pub(super) async fn names(&mut self, statement: &str, args: Args) -> Result<Vec<String>> {
        self.fetch(statement, args).await?.iter().map(|row| get(row, 0)).collect()
    }
}

/// The schema a table was found in.
pub fn schema_of(table: &TableSpec) -> &str {
    table.schema.as_deref().unwrap_or("public")
}

fn one(oid: i64) -> Args {
    let mut args = Args::new();
    args.add(oid);
    args
}

/// Nothing reminds of what was missed once the table is again as it was installed.
const UNDONE: &str =
    "; where it was installed before that, compare its rows once it is undone: `concord verify --repair`";

fn refusals(row: &PgRow, full: &str, schema: &str, kind: &str, role: &str) -> Result<Vec<String>> {
    let persistence: String = get(row, 4)?;
    let (is_partition, has_children, has_rules, hidden): (bool, bool, bool, bool) =
        (get(row, 5)?, get(row, 6)?, get(row, 8)?, get(row, 9)?);
    let parent: Option<String> = get(row, 7)?;
    let mut refusals = Vec::new();
    match kind {
        "v" | "m" => refusals.push(format!("{full} is a view; sync the tables it is made of")),
        "f" => refusals.push(format!("{full} is a foreign table; sync it where it is stored")),
        _ => {}
    }
    if [SERVICE, HISTORY, "pg_catalog", "information_schema"].contains(&schema) {
        refusals.push(format!("{full} belongs to Concord or to the server; take it out of the configuration"));
    }
    if persistence == "t" {
        refusals.push(format!("{full} is a temporary table; only lasting tables can be synced"));
    }
    if persistence == "u" {
        let table = full.strip_prefix(&format!("{schema}.")).unwrap_or(full);
        refusals.push(format!(
            "{full} is unlogged, so that a crash of the server empties it unnoticed; run ALTER TABLE {} SET LOGGED",
            quote::table(schema, table)
        ));
    }
    match &parent {
        Some(parent) if is_partition => {
            refusals.push(format!("{full} is a partition of {parent}; sync {parent} instead{UNDONE}"));
        }
        Some(parent) => refusals.push(format!(
            "{full} inherits from {parent}, where changes would be missed; run ALTER TABLE {full} NO INHERIT {parent}, or use partitions{UNDONE}"
        )),
        None if kind == "r" && has_children => {
            refusals.push(format!(
                "{full} has tables that inherit from it; use partitions, or detach them with NO INHERIT{UNDONE}"
            ));
        }
        None => {}
    }
    if has_rules && matches!(kind, "r" | "p") {
        refusals.push(format!("{full} has rewrite rules, which change what is written; use triggers instead{UNDONE}"));
    }
    if get(row, 10)? {
        let (owner, role) = (quote::ident(&get::<String>(row, 11)?), quote::ident(role));
        // As a member of a superuser it could do whatever that may.
        let how = match get(row, 12)? {
            true => format!("let it belong to an ordinary role that {role} is a member of (ALTER TABLE … OWNER TO)"),
            false => format!("run GRANT {owner} TO {role}"),
        };
        // What it writes fires only triggers that the owner has told to.
        refusals.push(format!(
            "{full} is written by a subscription, which is noticed only where the table is Concord's; {how}"
        ));
    }
    if hidden {
        refusals.push(format!(
            "{full} has row-level security, which hides rows from role {role}; run ALTER ROLE {} BYPASSRLS",
            quote::ident(role)
        ));
    }
    Ok(refusals)
}

fn column(row: &PgRow) -> Result<(CatalogueColumn, String)> {
    let letter = |at| get::<String>(row, at).map(|text| text.chars().next().unwrap_or(' '));
    let element = match (get::<Option<String>>(row, 13)?, get::<Option<String>>(row, 12)?) {
        (Some(schema), Some(name)) => Some((schema, name)),
        _ => None,
    };
    let native = NativeType {
        schema: get(row, 4)?,
        name: get(row, 5)?,
        kind: letter(6)?,
        category: letter(7)?,
        modifier: get(row, 8)?,
        full: get(row, 9)?,
        plain: get(row, 10)?,
        prefix: get(row, 11)?,
        element,
    };
    let (domain, native): (Domain, String) = native.describe();
    let column = CatalogueColumn {
        name: get(row, 0)?,
        native,
        collation: None,
        domain,
        nullable: get(row, 1)?,
        generated: get(row, 2)?,
        // Those of an enum, also where it is the element of an array; in whichever order.
        lacks: Some(get::<Vec<String>>(row, 14)?)
            .filter(|labels| !labels.is_empty())
            .map(|known| Lack::Labels { known, in_order: false })
            .into_iter()
            .collect(),
        alike: None,
    };
    Ok((column, get(row, 3)?))
}

fn reference(row: &PgRow) -> Result<ForeignKey> {
    let action: String = get(row, 7)?;
    Ok(ForeignKey {
        name: get(row, 0)?,
        schema: get(row, 1)?,
        table: get(row, 2)?,
        columns: get(row, 3)?,
        referenced_schema: get(row, 4)?,
        referenced_table: get(row, 5)?,
        referenced_columns: get(row, 6)?,
        on_delete: match action.as_str() {
            "c" => OnGone::Cascade,
            "n" | "d" => OnGone::Detach,
            _ => OnGone::Refuse,
        },
        follows: get(row, 10)?,
    })
}

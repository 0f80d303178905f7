//! Making room: unique values that rows of one batch pass among each other.

use std::collections::{BTreeMap, HashMap};

use super::schema::get;
use super::wire::Args;
use super::{Postgres, quote, sql};
use crate::model::{Column, Domain, Row, TableSpec};
use crate::node::{Result, Room};

/// Unique indexes and exclusion constraints: the columns that they compare, which of these by `=`; whether NULL collides with NULL; the columns that their expressions and conditions depend on, those that
/// generated columns are made of included; whether they compare just these columns, of every row.
const UNIQUES: &str = "SELECT k.names, k.equal, \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid \
            AND a.attnum IN (SELECT d.refobjsubid FROM pg_catalog.pg_depend d \
                WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid \
                    AND (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid \
                        OR d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid IN \
                            (SELECT g.oid FROM pg_catalog.pg_attrdef g JOIN pg_catalog.pg_attribute o \
                                ON o.attrelid = g.adrelid AND o.attnum = g.adnum WHERE g.adrelid = i.indrelid \
                                    AND o.attgenerated <> '' AND o.attname = ANY (k.names)))) \
            AND a.attname <> ALL (k.names) ORDER BY a.attnum), \
        i.indisunique AND NOT i.indisexclusion AND i.indexprs IS NULL AND i.indpred IS NULL \
    FROM pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = i.indexrelid AND x.contype = 'x', \
        LATERAL (SELECT coalesce(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY k.at), '{}') AS names, \
                coalesce(pg_catalog.array_agg(x.oid IS NULL OR o.oprname = '=' ORDER BY k.at), '{}') AS equal \
            FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, at) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
                LEFT JOIN pg_catalog.pg_operator o ON o.oid = x.conexclop[k.at] \
            WHERE k.at <= i.indnkeyatts) k \
    WHERE i.indrelid = pg_catalog.to_regclass($1) AND i.indisvalid AND (i.indisunique OR i.indisexclusion) \
    ORDER BY i.indexrelid";

/// Columns from which references take: what is put there has to be somewhere else as well. And columns whose changes
/// references hand on, so that they cannot be moved aside without a trace.
const TIED: &str = "SELECT ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_constraint f, \
            pg_catalog.unnest(f.conkey) AS k JOIN pg_catalog.pg_attribute a ON a.attnum = k \
        WHERE f.contype = 'f' AND f.conrelid = c.oid AND a.attrelid = c.oid), \
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_constraint f, \
            pg_catalog.unnest(f.confkey) AS k JOIN pg_catalog.pg_attribute a ON a.attnum = k \
        WHERE f.contype = 'f' AND f.confrelid = c.oid AND a.attrelid = c.oid AND f.confupdtype IN ('c', 'n', 'd')) \
    FROM (SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid) c";

/// A unique index or an exclusion constraint, and what can be moved to get out of its way.
struct Movable {
    /// Positions of the columns that it compares, and whether by `=`; without those of the key.
    compared: Vec<(usize, bool)>,
    /// Positions of the other columns that it depends on.
    behind: Vec<usize>,
    /// The columns, where only rows of which one of them changes need to move.
    plain: Option<Vec<usize>>,
}

impl Postgres {
    /// Rows whose unique columns are about to change give their present values up, one statement per constraint.
    pub(super) async fn clear_uniques(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut args = Args::new();
        args.add(sql::table(table));
        let tied = self.look_up(TIED, args).await?;
        let (referring, followed): (Vec<String>, Vec<String>) = (get(&tied[0], 0)?, get(&tied[0], 1)?);
        let movable = self.find_movable(table, &followed).await?;
        self.announce(std::iter::once(table)).await?;
        for unique in &movable {
            let sets = unique.sets(table, &referring, room);
            if sets.is_empty() {
                continue;
            }
            let changes = unique.plain.as_deref().unwrap_or_default();
            let mut args = Args::new();
            let wanted: BTreeMap<usize, &Column> =
                changes.iter().chain(&table.key).map(|&at| (at, &table.columns[at])).collect();
            let rowset = sql::rowset(&mut args, wanted.into_iter(), rows.iter().map(|row| &row[..]), "u", 'c');
            let same = table.key.iter().map(|&at| {
                let column = &table.columns[at];
                self.equal(column, &format!("t.{}", quote::ident(&column.name)), &format!("u.c{at}"))
            });
            let differs = changes.iter().filter(|at| !table.key.contains(at)).map(|&at| {
                // Text tells apart at least what the column's own type tells apart. IS DISTINCT FROM would take whatever `=` the
                // role's search path has for it.
                let [now, then] = [format!("t.{}", quote::ident(&table.columns[at].name)), format!("u.c{at}")];
                let exact = |value: &str| format!("{value}::pg_catalog.text COLLATE pg_catalog.\"C\"");
                format!(
                    "({} OPERATOR(pg_catalog.=) {} OR {now} IS NULL AND {then} IS NULL) IS NOT TRUE",
                    exact(&now),
                    exact(&then)
                )
            });
            let differs = differs.collect::<Vec<_>>().join(" OR ");
            let statement = format!(
                "UPDATE {} AS t SET {} FROM {rowset} WHERE {}{}",
                sql::table(table),
                sets.join(", "),
                same.collect::<Vec<_>>().join(" AND "),
                if differs.is_empty() { String::new() } else { format!(" AND ({differs})") }
            );
            self.fetch(statement, args).await?;
        }
        Ok(())
    }

    async fn find_movable(&mut self, table: &TableSpec, followed: &[String]) -> Result<Vec<Movable>> {
        let places: HashMap<&str, usize> =
            table.columns.iter().enumerate().map(|(at, column)| (column.name.as_str(), at)).collect();
        // What is not synced is nobody else's, and keys stay.
        let free = |name: &String| {
            let at = places.get(name.as_str()).copied().filter(|at| !table.key.contains(at));
            at.filter(|_| !followed.contains(name))
        };
        let mut args = Args::new();
        args.add(sql::table(table));
        let mut movable = Vec::new();
        for row in self.look_up(UNIQUES, args).await? {
            let (names, equal): (Vec<String>, Vec<bool>) = (get(&row, 0)?, get(&row, 1)?);
            let (behind, plain): (Vec<String>, bool) = (get(&row, 2)?, get(&row, 3)?);
            let all: Option<Vec<usize>> = names.iter().map(|name| places.get(name.as_str()).copied()).collect();
            movable.push(Movable {
                compared: names.iter().zip(equal).filter_map(|(name, equal)| Some((free(name)?, equal))).collect(),
                behind: behind.iter().filter_map(free).collect(),
                plain: all.filter(|_| plain),
            });
        }
        Ok(movable)
    }
}

impl Movable {
    /// What a row's columns are set to so that it collides with no other; nothing where that cannot be had.
    fn sets(&self, table: &TableSpec, referring: &[String], room: Room) -> Vec<String> {
        let set = |at: usize, value: &str| format!("{} = {value}", quote::ident(&table.columns[at].name));
        let null = |at: usize| table.columns[at].nullable.then(|| set(at, "NULL"));
        let drawn = |at: usize, equal: bool| {
            let column = &table.columns[at];
            let value = if equal { random(column) } else { apart(column).map(str::to_owned) };
            value.map(|value| set(at, &value))
        };
        // A value that refers to another row cannot be drawn, if there is a choice.
        let refers = |at: usize| referring.contains(&table.columns[at].name);
        let draw = |referring: bool| {
            let columns = self.compared.iter().filter(|(at, _)| refers(*at) == referring);
            columns.filter_map(|&(at, equal)| drawn(at, equal)).next()
        };
        // Of a value that is worked out, or a condition, nobody knows which of its columns it turns upon.
        let behind = |truth: &str, value: &dyn Fn(usize) -> Option<String>| -> Vec<String> {
            let is_bool = |at: usize| matches!(table.columns[at].domain, Domain::Bool { .. });
            let moved = |&at: &usize| if is_bool(at) { Some(set(at, truth)) } else { value(at) };
            self.behind.iter().filter(|&&at| !refers(at)).filter_map(moved).collect()
        };
        let first_null = self.compared.iter().find_map(|(at, _)| null(*at));
        match room {
            Room::Null if first_null.is_some() => first_null.into_iter().collect(),
            Room::Null => match (draw(false), behind("FALSE", &null)) {
                (Some(drawn), _) => vec![drawn],
                (None, behind) if behind.is_empty() => draw(true).into_iter().collect(),
                (None, behind) => behind,
            },
            Room::Drawn => {
                let mut sets = behind("TRUE", &|at| drawn(at, true));
                sets.extend(draw(false));
                if sets.is_empty() { draw(true).into_iter().collect() } else { sets }
            }
        }
    }
}

/// A value of the column's type that no operator of an exclusion constraint but `=` finds in the way of another.
fn apart(column: &Column) -> Option<&'static str> {
    match column.native.as_str() {
        "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange" => Some("'empty'"),
        "int4multirange" | "int8multirange" | "nummultirange" | "tsmultirange" | "tstzmultirange"
        | "datemultirange" => Some("'{}'"),
        _ => None,
    }
}

/// An expression that gives each row another value of the column's type.
fn random(column: &Column) -> Option<String> {
    let random = "pg_catalog.random()";
    let times = |factor: &str| format!("({random} OPERATOR(pg_catalog.*) {factor}::pg_catalog.float8)");
    Some(match &column.domain {
        Domain::Text { max, .. } => {
            let text = "pg_catalog.gen_random_uuid()::pg_catalog.text";
            match max {
                Some(max) => format!("pg_catalog.left({text}, {max})"),
                None => text.to_owned(),
            }
        }
        Domain::Uuid => "pg_catalog.gen_random_uuid()".to_owned(),
        Domain::Bytes => {
            "pg_catalog.decode(pg_catalog.md5(pg_catalog.gen_random_uuid()::pg_catalog.text), 'hex')".to_owned()
        }
        // Below zero, where applications seldom count.
        Domain::Int { bits: 16, .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int2", times("32768")),
        Domain::Int { unsigned: true, .. } => format!("{}::pg_catalog.int8::pg_catalog.oid", times("4294967295")),
        Domain::Int { bits: 32, .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int4", times("2147483647")),
        Domain::Int { .. } => format!("(OPERATOR(pg_catalog.-) {})::pg_catalog.int8", times("9007199254740992")),
        Domain::Float { .. } => times("1e9"),
        Domain::Decimal { limits: None } => format!("{}::pg_catalog.numeric", times("1e15")),
        Domain::Decimal { limits: Some((precision, scale)) } => {
            let digits = (*precision).min(15);
            let shift = scale.saturating_sub(precision - digits);
            format!(
                "(pg_catalog.floor({})::pg_catalog.numeric OPERATOR(pg_catalog./) 1e{}::pg_catalog.numeric)",
                times(&format!("1e{digits}")),
                shift
            )
        }
        Domain::Date { .. } => {
            format!("('0001-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) {}::pg_catalog.int4)", times("300000"))
        }
        Domain::Time { .. } => format!(
            "('00:00'::pg_catalog.time OPERATOR(pg_catalog.+) ({random} OPERATOR(pg_catalog.*) '23:59:59'::pg_catalog.interval))"
        ),
        Domain::Timestamp { .. } => format!(
            "('0001-01-01'::pg_catalog.timestamp OPERATOR(pg_catalog.+) ({random} OPERATOR(pg_catalog.*) '300000 days'::pg_catalog.interval))"
        ),
        Domain::Instant { .. } => format!("pg_catalog.to_timestamp({})", times("1e9")),
        _ => return None,
    })
}

//! The fastest ordinary way to write the same rows into PostgreSQL: arrays in binary form, `UNNEST`, upsert.

use std::time::Instant;

use concord_tests::User;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnection, PgTypeInfo, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, Row};

/// Rows in one statement.
const CHUNK: usize = 5_000;

/// The columns: (name, type, oid, oid of the array).
const COLUMNS: [(&str, &str, u32, u32); 5] = [
    ("id", "int8", 20, 1016),
    ("name", "text", 25, 1009),
    ("balance", "numeric", 1700, 1231),
    ("updated_at", "timestamptz", 1184, 1185),
    ("payload", "text", 25, 1009),
];

/// Rows as the server sends them.
pub type Rows = Vec<[Vec<u8>; 5]>;

/// The rows of the usual table for a condition.
pub async fn read(user: &mut User, condition: &str) -> Rows {
    let names = COLUMNS.map(|(name, ..)| name).join(", ");
    let query = format!("SELECT {names} FROM accounts WHERE {condition}");
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(connection(user)).await.expect("rows are read");
    let cell = |row: &sqlx::postgres::PgRow, at: usize| {
        row.try_get_raw(at).expect("the column is there").as_bytes().expect("no NULLs here").to_vec()
    };
    rows.iter().map(|row| std::array::from_fn(|at| cell(row, at))).collect()
}

/// Writes rows, and deletes others, in one transaction; how many seconds that took.
pub async fn write(user: &mut User, rows: &Rows, gone: &[i64]) -> f64 {
    let casts: Vec<String> = (1..).zip(COLUMNS).map(|(at, (_, ty, ..))| format!("${at}::{ty}[]")).collect();
    let sets = COLUMNS[1..].iter().map(|(name, ..)| format!("{name} = excluded.{name}")).collect::<Vec<_>>();
    let upsert = format!(
        "INSERT INTO accounts ({}) SELECT * FROM UNNEST ({}) ON CONFLICT (id) DO UPDATE SET {}",
        COLUMNS.map(|(name, ..)| name).join(", "),
        casts.join(", "),
        sets.join(", ")
    );
    let connection = connection(user);
    let start = Instant::now();
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await.expect("a transaction begins");
    for chunk in rows.chunks(CHUNK) {
        let mut arguments = PgArguments::default();
        for (at, (.., element, array)) in COLUMNS.iter().enumerate() {
            let column = Column::of(*element, *array, chunk.iter().map(|row| &row[at][..]), chunk.len());
            arguments.add(column).expect("a column fits");
        }
        let query = sqlx::query_with(AssertSqlSafe(&*upsert), arguments);
        query.execute(&mut *connection).await.expect("rows are written");
    }
    if !gone.is_empty() {
        let delete = "DELETE FROM accounts AS a USING UNNEST ($1::int8[]) AS g (id) WHERE a.id = g.id";
        sqlx::query(delete).bind(gone).execute(&mut *connection).await.expect("rows are deleted");
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await.expect("a transaction ends");
    start.elapsed().as_secs_f64()
}

fn connection(user: &mut User) -> &mut PgConnection {
    match user {
        User::Postgres(connection) => connection,
        User::Sqlite(_) | User::Mariadb(..) => panic!("this is about PostgreSQL"),
    }
}

/// An array in binary form.
struct Column {
    array: u32,
    bytes: Vec<u8>,
}

impl Column {
    fn of<'c>(element: u32, array: u32, cells: impl Iterator<Item = &'c [u8]>, count: usize) -> Column {
        let mut bytes = Vec::new();
        for word in [1, 0, element, count as u32, 1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for cell in cells {
            bytes.extend_from_slice(&(cell.len() as u32).to_be_bytes());
            bytes.extend_from_slice(cell);
        }
        Column { array, bytes }
    }
}

impl sqlx::Type<Postgres> for Column {
    fn type_info() -> PgTypeInfo {
        <[u8] as sqlx::Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Column {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.array)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

//! The kinds of database that the conformance suite runs for.

/// A kind of database. To add one: a variant, a place in [`Kind::ALL`], a line in [`conformance!`](crate::conformance),
/// and its arms in [`Database`](crate::Database) and [`User`](crate::User).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Mariadb];

    /// Each kind with each, both ways.
    pub const PAIRS: [&'static [Kind]; 9] = [
        &[Kind::Sqlite, Kind::Sqlite],
        &[Kind::Sqlite, Kind::Postgres],
        &[Kind::Sqlite, Kind::Mariadb],
        &[Kind::Postgres, Kind::Sqlite],
        &[Kind::Postgres, Kind::Postgres],
        &[Kind::Postgres, Kind::Mariadb],
        &[Kind::Mariadb, Kind::Sqlite],
        &[Kind::Mariadb, Kind::Postgres],
        &[Kind::Mariadb, Kind::Mariadb],
    ];
}

/// Makes a test of each case for each kind: `every` lists async functions `fn(Kind)`; `standard` those whose statements
/// MariaDB does not know; the other lists are cases that only make sense for one kind. Each test has a name such as
/// `conformance::capture::postgres::update_many`.
#[macro_export]
macro_rules! conformance {
    (
        every: $every:tt
        standard: $standard:tt
        sqlite: $sqlite:tt
        postgres: $postgres:tt
        mariadb: $mariadb:tt
    ) => {
        $crate::conformance!(@kind sqlite, Sqlite, $every, $standard, $sqlite);
        $crate::conformance!(@kind postgres, Postgres, $every, $standard, $postgres);
        $crate::conformance!(@kind mariadb, Mariadb, $every, [], $mariadb);
    };
    (@kind $module:ident, $kind:ident, [], [], []) => {};
    (
        @kind $module:ident, $kind:ident,
        [$($every:ident),* $(,)?], [$($standard:ident),* $(,)?], [$($own:ident),* $(,)?]
    ) => {
        mod $module {
            $(#[tokio::test] async fn $every() { Box::pin(super::$every($crate::Kind::$kind)).await })*
            $(#[tokio::test] async fn $standard() { Box::pin(super::$standard($crate::Kind::$kind)).await })*
            $(#[tokio::test] async fn $own() { Box::pin(super::$own($crate::Kind::$kind)).await })*
        }
    };
}

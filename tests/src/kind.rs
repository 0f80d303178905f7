//! The kinds of database that the conformance suite runs for.

/// A kind of database. To add one: a variant, a place in [`Kind::ALL`], a line in [`conformance!`](crate::conformance),
/// and its arms in [`Database`](crate::Database) and [`User`](crate::User).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];
}

/// Makes a test of each case for each kind: `every` lists async functions `fn(Kind)`, the other lists are cases that
/// only make sense for one kind. Each test has a name such as `conformance::capture::postgres::update_many`.
#[macro_export]
macro_rules! conformance {
    (
        every: $every:tt
        sqlite: $sqlite:tt
        postgres: $postgres:tt
    ) => {
        $crate::conformance!(@kind sqlite, Sqlite, $every, $sqlite);
        $crate::conformance!(@kind postgres, Postgres, $every, $postgres);
    };
    (@kind $module:ident, $kind:ident, [$($every:ident),* $(,)?], [$($own:ident),* $(,)?]) => {
        mod $module {
            $(#[tokio::test] async fn $every() { Box::pin(super::$every($crate::Kind::$kind)).await })*
            $(#[tokio::test] async fn $own() { Box::pin(super::$own($crate::Kind::$kind)).await })*
        }
    };
}

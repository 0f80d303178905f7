//! The numbers that the server draws by itself.

use super::wire::{Args, number};
use super::{MySql, quote, sql};
use crate::model::TableSpec;
use crate::node::Result;

impl MySql {
    /// See [`crate::node::Node::last_number`]. What was drawn and stands nowhere is not told for certain, and need not be: the
    /// numbers of a table go on from the greatest that stands in it.
    pub(super) async fn read_last_number(&mut self, table: &TableSpec, column: usize) -> Result<i64> {
        let name = quote::ident(&table.columns[column].name);
        let statement = format!("SELECT COALESCE(CAST(MAX({name}) AS SIGNED), 0) FROM {}", sql::table(table));
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0))
    }
}

//! What the engine's plan would say about a table that is synced as it is.

use concord::model::{Column, Domain, TableSpec, Type, Value};
use concord::node::Node;

/// The spec of a local table, captured, with all its columns and the catalogue's key. `index` is its place among the
/// tables of the test; its shared name is the local one.
pub async fn spec(node: &mut dyn Node, table: &str, index: usize) -> TableSpec {
    let catalogue = match node.catalogue(table).await {
        Ok(Some(catalogue)) => catalogue,
        Ok(None) => panic!("the catalogue has no table {table}"),
        Err(error) => panic!("the catalogue of {table}: {error}"),
    };
    assert!(catalogue.refusals.is_empty(), "{table} is refused: {:?}", catalogue.refusals);
    let columns: Vec<Column> = catalogue
        .columns
        .iter()
        .filter(|column| !column.generated)
        .enumerate()
        .map(|(shared, column)| Column {
            name: column.name.clone(),
            shared: Some(shared),
            native: column.native.clone(),
            collation: column.collation.clone(),
            domain: column.domain.clone(),
            ty: travelling(&column.name, &column.domain),
            nullable: column.nullable,
        })
        .collect();
    let position = |name: &String| {
        columns.iter().position(|column| column.name == *name).unwrap_or_else(|| panic!("{table} has no column {name}"))
    };
    TableSpec {
        index,
        name: catalogue.name.clone(),
        schema: catalogue.schema.clone(),
        local: catalogue.name.clone(),
        key: catalogue.key.iter().map(position).collect(),
        keys: Vec::new(),
        layout: columns.iter().map(|column| (column.name.clone(), column.ty.clone())).collect(),
        uniques: catalogue.uniques.clone(),
        references: catalogue.references.clone(),
        referenced: catalogue.referenced.clone(),
        user_triggers: catalogue.user_triggers.clone(),
        partitions: catalogue.partitions.clone(),
        partitioned: catalogue.partitioned,
        keeps_own: false,
        takes_all: true,
        captured: true,
        written: true,
        deletes: true,
        images: Vec::new(),
        shape: "shape".to_owned(),
        columns,
    }
}

fn travelling(name: &str, domain: &Domain) -> Type {
    Type::shared([(name.to_owned(), domain)]).unwrap_or_else(|why| panic!("{why}"))
}

/// One value of a key from its text, as a [`User`](crate::User) shows it. `native` of SQLite tells the kind of value
/// where any may stand: what looks like an integer is one.
pub fn parse_key(column: &Column, text: &str) -> Value {
    match &column.ty {
        Type::Int => Value::Int(text.parse().expect("an integer")),
        Type::Uuid => Value::Uuid(*uuid::Uuid::parse_str(text).expect("a uuid").as_bytes()),
        Type::Any => match text.parse() {
            Ok(number) if column.native.to_ascii_uppercase().contains("INT") => Value::Int(number),
            _ => Value::text(text),
        },
        Type::Text | Type::Native(_) => Value::text(text),
        other => panic!("no test has a key of type {other} so far"),
    }
}

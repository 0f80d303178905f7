//! Plugins, compiled from source: what hostile ones come to, and that the good ones do what they say.

mod attacks;
mod bundles;
mod c;
mod cel;
mod commands;
mod documented;
mod early;
mod filtered_and_mapped;
mod filtering;
mod fixtures;
mod giving_up;
mod hostile;
mod judging;
mod key_prefix;
mod languages;
mod laws;
mod logged;
mod mapped_sums;
mod mapping;
mod merge_fields;
mod old;
mod redact;
mod region;
mod reshape;
mod reshaping;
mod resolving;
mod rounding;
mod shown;
mod subsets_killed;
mod trial;
mod typescript;
mod web_shop;

use std::sync::Arc;

use concord::model::{Key, Row, Type, Value};
use concord::plugin::{Dispute, Facts, Failure, Limits, Plugin, Resolver, Shape, ShapeColumn, Side};
use concord_tests::guests;

fn load(name: &str, limits: Limits) -> Result<Plugin, Failure> {
    Plugin::load(&guests::host(), &Plugin::file(&guests::plugins(), name), name, limits, None)
}

/// A table `items` of an id, a note and a stock.
fn items() -> Shape {
    let columns = [("id", Type::Int), ("note", Type::Text), ("stock", Type::Int)];
    let columns = columns.map(|(name, ty)| ShapeColumn { name: name.to_owned(), ty });
    Shape { name: "items".to_owned(), columns: columns.into(), key: vec![0] }
}

fn facts() -> Facts {
    Facts { sync: "shop".to_owned(), nodes: vec!["office".to_owned(), "branch".to_owned()] }
}

fn open(name: &str, limits: Limits, shape: Shape, config: &str) -> Result<Resolver, Failure> {
    Resolver::open(Arc::new(load(name, limits)?), shape, config, &facts())
}

fn row(id: i64, note: &str, stock: i64) -> Row {
    vec![Value::Int(id), Value::text(note), Value::Int(stock)].into()
}

/// Conflicts of two versions each, of which the second is the later.
struct Cases(Vec<(Key, Row, Row)>);

impl Cases {
    /// One for each note.
    fn of(notes: &[&str]) -> Cases {
        let case = |(at, note): (usize, &&str)| {
            let id = at as i64;
            (Key::from([Value::Int(id)]), row(id, note, 1), row(id, note, 2))
        };
        Cases(notes.iter().enumerate().map(case).collect())
    }

    fn disputes(&self) -> Vec<Dispute<'_>> {
        self.0
            .iter()
            .map(|(key, first, second)| Dispute {
                key,
                versions: vec![
                    Side { node: "branch", time: 1, row: Some(first) },
                    Side { node: "office", time: 2, row: Some(second) },
                ],
                latest: 1,
                start: 1,
                base: None,
                changes: Vec::new(),
            })
            .collect()
    }
}

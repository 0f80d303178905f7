//! A fixture as the file that it can be read from.

use std::sync::Arc;

use serde_json::{Map, Value as Document, json};

use super::failure::{Failure, Role};
use super::filter::Filter;
use super::fixture::{Answer, Conflict, Fixture, Recorded, Verdict, Version};
use super::laws::{Law, mapped};
use super::load::Plugin;
use super::mapping::Mapping;
use super::resolver::Resolver;
use super::shape::Shape;
use crate::model::{Row, row_to_json};

/// The file of a fixture in which a law is broken, with the answers that the plugin gives to its cases. Fails if the plugin does not
/// answer at all.
pub fn written(plugin: &Arc<Plugin>, fixture: &Fixture, role: Role, law: Law) -> Result<String, Failure> {
    let about =
        format!("The smallest case that was found of the fixture `{}` in which {}.", fixture.name, law.as_str());
    let mut file = Map::new();
    file.insert("about".to_owned(), about.into());
    let Document::Object(mut table) = shape(&fixture.shape) else { return Ok(String::new()) };
    table.insert("name".to_owned(), fixture.shape.name.as_str().into());
    file.insert("table".to_owned(), table.into());
    file.insert("nodes".to_owned(), fixture.facts.nodes.clone().into());
    file.insert("config".to_owned(), serde_json::from_str(&fixture.config).unwrap_or_default());
    file.insert("role".to_owned(), role.as_str().into());
    if let Some(columns) = &fixture.columns {
        file.insert("columns".to_owned(), columns.clone().into());
    }
    let (of, config, facts) = (fixture.shape.clone(), &fixture.config, &fixture.facts);
    match role {
        Role::Filter => {
            let filter = Filter::open(plugin.clone(), of, config, facts)?;
            let answers = filter.judge(&fixture.rows.iter().map(|judged| &judged.row).collect::<Vec<_>>());
            let case = |(judged, answer): (&super::fixture::Judged, &Result<bool, Failure>)| json!({"row": row(&fixture.shape, &judged.row), "answer": Verdict::of(answer)});
            file.insert("rows".to_owned(), fixture.rows.iter().zip(&answers).map(case).collect());
        }
        Role::Mapping => {
            let mapping = Mapping::open(plugin.clone(), of, config, facts)?;
            let shared = fixture.made.as_ref().unwrap_or(&fixture.shape);
            let (locals, puts): (Vec<_>, Vec<_>) = (fixture.locals.iter().collect(), fixture.puts.iter().collect());
            let mut answers = mapped(&mapping, &locals, &puts).into_iter();
            let mut answer = |of: &Shape| match answers.next() {
                Some(Ok(made)) => json!({"row": row(of, &made)}),
                Some(Err(failure)) => json!({"problem": failure.code}),
                None => Document::Null,
            };
            file.insert("shape".to_owned(), shape(shared));
            let local = |local: &&super::fixture::Mapped| json!({"local": row(&fixture.shape, &local.row), "answer": answer(shared)});
            file.insert("locals".to_owned(), locals.iter().map(local).collect());
            let put = |put: &&super::fixture::Mapped| {
                let current = put.current.as_ref().map(|current| row(&fixture.shape, current));
                json!({"shared": row(shared, &put.row), "current": current, "answer": answer(&fixture.shape)})
            };
            file.insert("puts".to_owned(), puts.iter().map(put).collect());
        }
        Role::Resolver => {
            let resolver = Resolver::open(plugin.clone(), of, config, facts)?;
            let asked: Vec<_> = fixture.conflicts.iter().map(|one| one.recorded(resolver.recorded())).collect();
            let answers = resolver.resolve(&asked.iter().map(Conflict::dispute).collect::<Vec<_>>());
            let case =
                |(one, answer): (&Conflict, &Result<_, Failure>)| conflict(&fixture.shape, one, &Answer::of(answer));
            file.insert("conflicts".to_owned(), fixture.conflicts.iter().zip(&answers).map(case).collect());
        }
    }
    Ok(format!("{:#}\n", Document::Object(file)))
}

fn shape(shape: &Shape) -> Document {
    let columns: Map<String, Document> =
        shape.columns.iter().map(|column| (column.name.clone(), column.ty.to_string().into())).collect();
    let key: Vec<&str> = shape.key.iter().map(|&at| shape.columns[at].name.as_str()).collect();
    json!({"columns": columns, "key": key})
}

fn row(shape: &Shape, row: &Row) -> Document {
    row_to_json(shape.columns.iter().map(|column| column.name.as_str()), row)
}

fn conflict(shape: &Shape, conflict: &Conflict, answer: &Answer) -> Document {
    let node = |at: usize| conflict.versions[at].node.as_str();
    let some = |of: &Option<Row>| of.as_ref().map(|of| row(shape, of));
    let version = |one: &Version| json!({"node": one.node, "time": one.time, "row": some(&one.row)});
    let change = |one: &Recorded| {
        let seen_by: Vec<&str> = one.seen_by.iter().map(|&at| node(at)).collect();
        json!({"node": one.node, "time": one.time, "before": some(&one.before), "after": some(&one.after), "seen_by": seen_by})
    };
    json!({
        "versions": conflict.versions.iter().map(version).collect::<Vec<_>>(),
        "changes": conflict.changes.iter().map(change).collect::<Vec<_>>(),
        "start": node(conflict.start),
        "answer": answer.document(shape, conflict),
    })
}

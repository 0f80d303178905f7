//! The shape of a table as it is kept beside it, so that it stays what it was while nodes are away.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::brought::{self, Marks};
use super::plugins::Plugins;
use super::shape::{mappings, policy, same_name, subsets};
use super::table::{SharedColumn, Table};
use crate::config::{Config, Conflict, Diagnostic, Named, Operations};
use crate::model::{Grain, NodeId, TableSpec, Type};

/// The shared shape as it is kept beside every installed table, so that it stays what it was while nodes are away.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    columns: Vec<(String, String)>,
    key: Vec<String>,
    /// Columns recorded before and after each change.
    #[serde(default)]
    images: Vec<String>,
    /// Under what names they are recorded at the node where this is kept, if a mapping makes them of other columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own_images: Vec<String>,
    /// To what values are brought, by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grains: Vec<(String, Grain)>,
    /// The columns that do not live at the node where this is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    omits: Option<Vec<String>>,
    /// What tells by which filter rows were brought to the node where this is kept, see [`Subset::mark`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What tells through which mapping they were brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Which changes are carried. An earlier Concord did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operations: Option<Vec<String>>,
    /// What the table was at the node where this is kept, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installed: Option<Installed>,
}

/// What a table was at a node when it was installed there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its name there, with its schema.
    pub table: String,
    /// Columns by their shared and their local names; none where a mapping makes others of them.
    columns: Vec<(String, String)>,
    /// Whether users' changes were recorded there.
    pub captured: bool,
    /// Whether others' changes were written there.
    pub takes: bool,
}

/// A column for which another one stands at a node than when the table was installed there.
#[derive(Debug, PartialEq, Eq)]
pub struct Retargeted {
    pub shared: String,
    pub was: String,
    pub is: String,
}

/// What of a shape tells how rows are read and written: the columns with their types, the key, and what is recorded of each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    columns: Vec<(String, String)>,
    key: Vec<String>,
    images: Vec<String>,
    grains: Vec<(String, Grain)>,
}

/// Which changes were carried when a table was installed, and which are by the file, where these are others.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherOperations {
    was: Vec<String>,
    is: Vec<String>,
}

/// What is to be done about what was not carried so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing more is carried than before.
    Nothing,
    /// A load copies it; whether that makes rows again which some node deleted for itself alone.
    Load { revives: bool },
    /// Only deletes are carried that were not; whether a load would undo those of before.
    Delete { revives: bool },
}

impl OtherOperations {
    /// `None` if they are the same, or if what is kept does not tell.
    pub fn of(kept: &str, shape: &str) -> Option<OtherOperations> {
        let (was, is) = (operations(kept)?, operations(shape)?);
        (was != is).then_some(OtherOperations { was, is })
    }

    /// Those that are carried and were not.
    pub fn added(&self) -> Vec<&str> {
        self.is.iter().filter(|operation| !self.was.contains(operation)).map(String::as_str).collect()
    }

    /// What is another about a table of this name, in words.
    pub fn told(&self, name: &str) -> String {
        let added = self.added();
        if !added.is_empty() {
            return format!("`{}` of `{name}` is carried in this file and was not", added.join("`, `"));
        }
        let dropped = self.was.iter().filter(|operation| !self.is.contains(operation)).map(String::as_str);
        format!("`{}` of `{name}` is carried no more in this file", dropped.collect::<Vec<_>>().join("`, `"))
    }

    pub fn remedy(&self) -> Remedy {
        let has = |operations: &[String], wanted: &str| operations.iter().any(|operation| operation == wanted);
        // A load makes a row wherever it is missing.
        let revives = has(&self.is, "insert") && !has(&self.was, "delete");
        match self.added().as_slice() {
            [] => Remedy::Nothing,
            ["delete"] => Remedy::Delete { revives },
            _ => Remedy::Load { revives },
        }
    }
}

/// What is to be known of a load where [`Remedy::Load`] says so.
pub const REVIVES: &str = ", which makes rows again that some node deleted for itself alone";

impl Installed {
    fn of(table: &Table, spec: &TableSpec, node: NodeId) -> Installed {
        Installed {
            table: spec.full_name(),
            columns: names(spec),
            captured: spec.captured,
            takes: table.takes_rows(node),
        }
    }

    /// The local name that a column had, if that is known.
    pub fn local(&self, shared: &str) -> Option<&str> {
        self.columns.iter().find(|(known, _)| known == shared).map(|(_, local)| local.as_str())
    }

    /// Whether it had a column of this local name.
    pub fn had(&self, local: &str) -> bool {
        self.columns.iter().any(|(_, known)| same_name(known, local))
    }
}

impl Kept {
    /// The columns, and the places of the key in them.
    fn read(text: &str) -> Option<(Vec<SharedColumn>, Vec<usize>)> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let column = |(name, ty): (String, String)| Some(SharedColumn { name, ty: type_of(&ty)?, grain: None });
        let mut columns: Vec<SharedColumn> = kept.columns.into_iter().map(column).collect::<Option<_>>()?;
        for (name, grain) in kept.grains {
            columns.iter_mut().find(|column| column.name == name)?.grain = Some(grain);
        }
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = kept.key.iter().map(place).collect::<Option<_>>()?;
        Some((columns, key))
    }

    /// The types of the key's columns.
    fn key_types(&self) -> Vec<Option<&str>> {
        let ty = |name: &String| self.columns.iter().find(|(known, _)| known == name).map(|(_, ty)| ty.as_str());
        self.key.iter().map(ty).collect()
    }
}

/// A plugin that can be loaded, and cannot be opened for the columns that were kept, may be told of others that the tables have by now:
/// `check` finds nothing wrong with it then.
fn as_installed(mut problem: Box<Diagnostic>) -> Box<Diagnostic> {
    if problem.message.contains(", open: ") && problem.help.is_none() {
        let help = "if this is about a column that the tables have by now, run `concord install`";
        problem.help = Some(help.to_owned());
    }
    problem
}

const NATIVE: &str = "native ";

fn type_text(ty: &Type) -> String {
    match ty {
        Type::Native(name) => format!("{NATIVE}{name}"),
        ty => ty.to_string(),
    }
}

fn type_of(text: &str) -> Option<Type> {
    match text.strip_prefix(NATIVE) {
        Some(name) => Some(Type::Native(name.to_owned())),
        None => Type::PLAIN.into_iter().find(|ty| ty.to_string() == text),
    }
}

impl Table {
    /// The table without any node's form, in the shape that was kept; `None` if the text is not such a shape. Fails if its
    /// plugin cannot be opened.
    pub fn from_kept(
        config: &Config,
        index: usize,
        kept: &str,
        plugins: &mut Plugins,
    ) -> Result<Option<Table>, Box<Diagnostic>> {
        let table = &config.tables[index];
        let Some((columns, key)) = Kept::read(kept) else { return Ok(None) };
        let (policy, resolver) = policy(config, table, &columns, &key, plugins).map_err(as_installed)?;
        let subsets = subsets(config, table, &columns, &key, &policy, plugins).map_err(as_installed)?;
        let mappings = mappings(config, table, plugins)?;
        let place = |named: &Named| columns.iter().position(|column| same_name(&column.name, &named.name));
        let sums: &[Named] = if let Conflict::Sum(named) = &table.conflict { named } else { &[] };
        let is_summed = |named: &&Named| columns.iter().any(|column| column.name == named.name);
        let unknown = sums.iter().find(|named| !is_summed(named));
        let unknown = unknown.or(table.updated.as_ref().filter(|named| place(named).is_none()));
        // Without it another policy would decide than the file names.
        let stopped = unknown.map(|named| {
            let (at, name) = (config.at(&named.place), &table.name);
            format!(
                "{at}: `{name}` has no column `{}` as it is installed; if the tables have it by now, run `concord install`, otherwise \
                 correct the file (`concord check`)",
                named.name
            )
        });
        Ok(Some(Table {
            index,
            name: table.name.clone(),
            key,
            policy,
            resolver,
            subsets,
            mappings,
            operations: table.operations,
            updated: table.updated.as_ref().and_then(place),
            from: table.from,
            compared: false,
            forms: vec![None; config.nodes.len()],
            stopped,
            filtered_otherwise: None,
            as_installed: HashMap::new(),
            uncompared: None,
            columns,
        }))
    }

    /// The shape as text, see [`TableSpec::shape`].
    pub fn kept(&self) -> String {
        self.kept_at(None, Marks::default(), Vec::new())
    }

    /// The same as it is kept at a node: with the columns that do not live there, how rows are brought there, and under what names a
    /// mapping lets it record the columns of which it records anything.
    pub(super) fn kept_at(
        &self,
        omits: Option<Vec<String>>,
        Marks { filter, mapping }: Marks,
        own_images: Vec<String>,
    ) -> String {
        let columns = self.columns.iter().map(|column| (column.name.clone(), type_text(&column.ty))).collect();
        let names = |places: &[usize]| places.iter().map(|&place| self.columns[place].name.clone()).collect();
        let images = names(self.policy.recorded());
        let grains = self.columns.iter().filter_map(|column| Some((column.name.clone(), column.grain?))).collect();
        serde_json::to_string(&Kept {
            columns,
            key: names(&self.key),
            images,
            own_images,
            grains,
            omits,
            filter,
            mapping,
            operations: Some(carried(self.operations)),
            installed: None,
        })
        .unwrap_or_default()
    }

    /// What is another about the key than in the shape that was kept, so that rows which wait are found no more: a key is kept
    /// with them as it is written in its type.
    pub fn rekeyed(&self, kept: &str) -> Option<&'static str> {
        let parse = |text: &str| serde_json::from_str::<Kept>(text).ok();
        match (parse(kept), parse(&self.kept())) {
            (Some(was), Some(is)) if was.key == is.key => {
                (was.key_types() != is.key_types()).then_some("has a key of another type now")
            }
            _ => Some("has another key now"),
        }
    }
}

/// The shape of a table as `install` keeps it at a node, beside what else is to be known of how it was installed there.
pub fn to_install(table: &Table, spec: &TableSpec, node: NodeId) -> String {
    let Ok(mut kept) = serde_json::from_str::<Kept>(&spec.shape) else { return spec.shape.clone() };
    kept.installed = Some(Installed::of(table, spec, node));
    serde_json::to_string(&kept).unwrap_or_else(|_| spec.shape.clone())
}

/// What a table was at a node when it was installed there, by the shape that is kept there; `None` if it does not tell.
pub fn installed(kept: &str) -> Option<Installed> {
    serde_json::from_str::<Kept>(kept).ok()?.installed
}

/// See [`Outline`]; `None` if the text is not a shape.
pub fn outline(shape: &str) -> Option<Outline> {
    let Kept { columns, key, images, grains, .. } = serde_json::from_str(shape).ok()?;
    Some(Outline { columns, key, images, grains })
}

/// The shape that most nodes keep, or of several the first: one that was put back may keep an older one, which others are not to go by.
pub fn of_most<'a>(shapes: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let shapes: Vec<(&str, Option<Outline>)> = shapes.map(|shape| (shape, outline(shape))).collect();
    let alike = |at: usize| shapes.iter().filter(|(_, other)| *other == shapes[at].1).count();
    let most = (0..shapes.len()).max_by_key(|&at| (alike(at), std::cmp::Reverse(at)))?;
    Some(shapes[most].0)
}

/// Why a table cannot be synced at a node where another `omit`, other `columns` or other `operations` were installed, by the shape that
/// is kept there: what stands in a column that comes to live there has missed all changes, and what is changed in one that goes would
/// be passed over; of another column nothing was carried as what it is now; and what was not carried so far would be overwritten
/// unread.
pub fn carried_otherwise(kept: Option<&str>, spec: &TableSpec) -> Option<String> {
    let kept = kept.filter(|kept| *kept != spec.shape)?;
    if let (Some(was), Some(is)) = (omitted(kept), omitted(&spec.shape))
        && was != is
    {
        return Some(format!(
            "it was installed with omit = {was:?}, and this file, which may be the older one, has omit = {is:?}"
        ));
    }
    if let Some(others) = OtherOperations::of(kept, &spec.shape) {
        let then = match others.remedy() {
            Remedy::Nothing => String::new(),
            Remedy::Load { revives } => {
                let told = if revives { REVIVES } else { "" };
                format!(", and then `concord load --table {} --prefer NODE`{told}", spec.name)
            }
            Remedy::Delete { revives } => {
                let told = if revives { ", and `concord load` would bring it back" } else { "" };
                format!("; what was deleted so far stays where it stands elsewhere{told}")
            }
        };
        let OtherOperations { was, is } = others;
        return Some(format!(
            "it was installed with operations = {was:?}, and this file, which may be the older one, has operations = {is:?}; run `concord \
             install`{then}"
        ));
    }
    let Retargeted { shared, was, is } = retargeted(kept, spec).into_iter().next()?;
    Some(format!(
        "it was installed with the column `{was}` for `{shared}`, and this file, which may be the older one, has `{is}`; run `concord \
         install`"
    ))
}

/// The columns for which others stand at a node than when the table was installed there.
pub fn retargeted(kept: &str, spec: &TableSpec) -> Vec<Retargeted> {
    let Some(Installed { columns, .. }) = installed(kept) else { return Vec::new() };
    let other = |(shared, is): (String, String)| {
        let (_, was) = columns.iter().find(|(known, was)| *known == shared && !same_name(was, &is))?;
        Some(Retargeted { shared, was: was.clone(), is })
    };
    names(spec).into_iter().filter_map(other).collect()
}

/// The shared and the local names of a node's columns.
fn names(spec: &TableSpec) -> Vec<(String, String)> {
    // What a mapping makes of them is told by its own mark.
    if brought::marks(&spec.shape).mapping.is_some() {
        return Vec::new();
    }
    let shared = |place: usize| spec.layout.get(place).map(|(name, _)| name.clone());
    spec.columns.iter().filter_map(|column| Some((shared(column.shared?)?, column.name.clone()))).collect()
}

fn carried(operations: Operations) -> Vec<String> {
    let all = [("insert", operations.insert), ("update", operations.update), ("delete", operations.delete)];
    all.into_iter().filter(|(_, carried)| *carried).map(|(name, _)| name.to_owned()).collect()
}

/// Which changes are carried, by the shape that is kept; `None` if it does not tell.
fn operations(kept: &str) -> Option<Vec<String>> {
    serde_json::from_str::<Kept>(kept).ok()?.operations
}

/// The columns that did not live at a node when it was installed, by the shape that is kept there; `None` if it does not tell.
pub fn omitted(kept: &str) -> Option<Vec<String>> {
    serde_json::from_str::<Kept>(kept).ok()?.omits
}

/// The columns that lived at a node when it was installed, by the shape that is kept there.
pub fn lived(kept: &str) -> Vec<String> {
    let Ok(kept) = serde_json::from_str::<Kept>(kept) else { return Vec::new() };
    let omits = kept.omits.unwrap_or_default();
    kept.columns.into_iter().map(|(name, _)| name).filter(|name| !omits.contains(name)).collect()
}

/// Whether a history made for the shape that was kept cannot serve this one, because its entries lack columns.
pub fn needs_new_history(kept: &str, shape: &str) -> bool {
    let parse =
        |text: &str| serde_json::from_str::<Kept>(text).ok().map(|kept| (kept.key, kept.images, kept.own_images));
    parse(kept) != parse(shape)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::Column;

    #[test]
    fn a_key_is_another_by_its_columns_and_by_their_types() {
        let table = |columns: &[(&str, Type)]| Table::bare(columns, Vec::new());
        let was = table(&[("id", Type::Int), ("name", Type::Text)]).kept();
        let rekeyed = |columns: &[(&str, Type)]| table(columns).rekeyed(&was);
        assert_eq!(rekeyed(&[("id", Type::Int), ("name", Type::Text)]), None);
        assert_eq!(rekeyed(&[("id", Type::Int), ("name", Type::Any), ("notes", Type::Text)]), None);
        assert_eq!(rekeyed(&[("name", Type::Text), ("id", Type::Int)]), Some("has another key now"));
        for ty in [Type::Text, Type::Decimal, Type::Native("citext".into())] {
            assert_eq!(rekeyed(&[("id", ty), ("name", Type::Text)]), Some("has a key of another type now"));
        }
        assert!(table(&[("id", Type::Int)]).rekeyed("no shape").is_some());
    }

    #[test]
    fn nobody_goes_by_what_one_alone_keeps() {
        let old = Table::bare(&[("id", Type::Int)], Vec::new()).kept();
        let new = Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new());
        let (new, marked) = (new.kept(), new.kept_at(Some(vec!["name".to_owned()]), Marks::default(), Vec::new()));
        let most = |shapes: &[&String]| of_most(shapes.iter().map(|shape| shape.as_str())).map(str::to_owned);
        assert_eq!(most(&[&old, &new, &marked]), Some(new.clone()));
        assert_eq!(most(&[&old, &new]), Some(old.clone()));
        assert_eq!(most(&[]), None);
    }

    #[test]
    fn what_lived_at_a_node_is_what_it_did_not_omit() {
        let table = Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new());
        assert_eq!(lived(&table.kept()), ["id", "name"]);
        let kept = table.kept_at(Some(vec!["name".to_owned()]), Marks::default(), Vec::new());
        assert_eq!(lived(&kept), ["id"]);
        assert!(lived("no shape").is_empty());
    }

    /// The table of an id and a name at a node where the name is called so, as its form has it.
    fn spec(table: &Table, name: &str, mapping: Option<&str>) -> TableSpec {
        let column = |(shared, local): (usize, &str)| Column::bare(shared, local, Type::Text);
        let marks = Marks { filter: None, mapping: mapping.map(str::to_owned) };
        TableSpec {
            columns: ["id", name].into_iter().enumerate().map(column).collect(),
            layout: table.columns.iter().map(|column| (column.name.clone(), column.ty.clone())).collect(),
            shape: table.kept_at(Some(Vec::new()), marks, Vec::new()),
            ..TableSpec::bare(0, "t", std::iter::empty())
        }
    }

    #[test]
    fn what_was_installed_otherwise_is_told() {
        let table = Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new());
        let installed = |name: &str| to_install(&table, &spec(&table, name, None), NodeId(0));
        let told = |kept: &str, spec: &TableSpec| carried_otherwise(Some(kept), spec).unwrap_or_default();
        for (name, is_told) in [("name", false), ("NAME", false), ("label", true)] {
            let why = told(&installed("name"), &spec(&table, name, None));
            assert_eq!(why.contains("the column `name` for `name`") && why.contains("has `label`"), is_told, "{why}");
            assert_eq!(why.is_empty(), !is_told);
        }
        // What a mapping makes is told by its mark.
        assert_eq!(told(&installed("name"), &spec(&table, "label", Some("m"))), "");
        let less = Operations { insert: false, ..Operations::ALL };
        let less = Table { operations: less, ..Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new()) };
        let (more, fewer) = (spec(&table, "name", None), spec(&less, "name", None));
        let of_fewer = to_install(&less, &fewer, NodeId(0));
        assert!(told(&of_fewer, &more).ends_with("`concord load --table t --prefer NODE`"));
        assert!(told(&installed("name"), &fewer).ends_with("run `concord install`"));
        assert_eq!(OtherOperations::of(&installed("name"), &more.shape), None);
    }

    /// A load copies what is missing, so it undoes the deletes that were not carried.
    #[test]
    fn a_load_is_named_only_where_it_brings_what_was_not_carried() {
        let all = ["insert", "update", "delete"];
        for (was, is, remedy) in [
            (&["update", "delete"][..], &all[..], Remedy::Load { revives: false }),
            (&["update"], &all, Remedy::Load { revives: true }),
            (&["insert"], &["insert", "update"], Remedy::Load { revives: true }),
            (&["delete"], &["update", "delete"], Remedy::Load { revives: false }),
            (&["insert", "update"], &all, Remedy::Delete { revives: true }),
            (&["update"], &["update", "delete"], Remedy::Delete { revives: false }),
            (&["insert"], &["insert", "delete"], Remedy::Delete { revives: true }),
            (&all, &["insert", "update"], Remedy::Nothing),
        ] {
            let of = |operations: &[&str]| {
                let has = |wanted| operations.contains(&wanted);
                let operations = Operations { insert: has("insert"), update: has("update"), delete: has("delete") };
                let table = Table { operations, ..Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new()) };
                let spec = spec(&table, "name", None);
                (to_install(&table, &spec, NodeId(0)), spec)
            };
            let ((kept, _), (_, spec)) = (of(was), of(is));
            let others = OtherOperations::of(&kept, &spec.shape).expect("they differ");
            assert_eq!(others.remedy(), remedy, "{was:?} {is:?}");
            let why = carried_otherwise(Some(&kept), &spec).unwrap_or_default();
            let names_it = matches!(remedy, Remedy::Load { .. });
            assert_eq!(why.contains("and then `concord load --table t --prefer NODE`"), names_it, "{why}");
            let revives = matches!(remedy, Remedy::Load { revives: true });
            assert_eq!(why.ends_with(REVIVES), revives, "{why}");
            let warns = matches!(remedy, Remedy::Delete { revives: true });
            assert_eq!(why.ends_with("`concord load` would bring it back"), warns, "{why}");
            let told = others.told("t");
            assert_eq!(told.ends_with("is carried no more in this file"), remedy == Remedy::Nothing, "{told}");
        }
    }

    #[test]
    fn what_an_earlier_concord_kept_goes_on() {
        let table = Table::bare(&[("id", Type::Int), ("name", Type::Text)], Vec::new());
        let kept = r#"{"columns":[["id","integer"],["name","text"]],"key":["id"],"images":[],"omits":[]}"#;
        let spec = spec(&table, "label", None);
        assert_eq!(carried_otherwise(Some(kept), &spec), None);
        assert!(OtherOperations::of(kept, &spec.shape).is_none() && retargeted(kept, &spec).is_empty());
        assert_eq!(installed(kept), None);
        // Nor does it mind what is kept now.
        let marked = brought::with_marks(&to_install(&table, &spec, NodeId(0)), Marks::default());
        assert!(installed(&marked).is_some_and(|was| was.had("LABEL") && was.captured && was.takes));
        assert_eq!(installed(&spec.shape), None);
    }

    /// A table as the file has it, with the shape of one of an id, a number and a time.
    fn from_file(settings: &str) -> Table {
        let kept = Table::bare(&[("id", Type::Int), ("n", Type::Int), ("at", Type::Int)], Vec::new()).kept();
        let nodes = "[nodes.a]\nurl = \"sqlite:a\"\n[nodes.b]\nurl = \"sqlite:b\"\n";
        let text = format!("name = \"test\"\n{nodes}[tables.t]\n{settings}\n");
        let config = Config::parse(Path::new("concord.toml"), text, &|_| None).expect("a good file");
        let table = Table::from_kept(&config, 0, &kept, &mut Plugins::default()).expect("there is no plugin");
        table.expect("that is a shape")
    }

    #[test]
    fn columns_that_the_file_names_are_looked_up_as_check_does_it() {
        let spelled = from_file("updated = \"At\"");
        assert_eq!((spelled.updated, spelled.stopped), (Some(2), None));
        assert_eq!(from_file("conflict = { sum = [\"n\"] }").stopped, None);
        for settings in ["updated = \"att\"", "conflict = { sum = [\"n\", \"m\"] }", "conflict = { sum = [\"N\"] }"] {
            let why = from_file(settings).stopped.unwrap_or_default();
            assert!(why.starts_with("concord.toml:7: `t` has no column `"), "{settings}: {why}");
            let remedy = "run `concord install`, otherwise correct the file (`concord check`)";
            assert!(why.ends_with(remedy), "{settings}: {why}");
        }
    }
}

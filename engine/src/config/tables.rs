//! The `[tables.…]` sections.

use std::collections::HashMap;

use super::diagnostic::Show;
use super::nearest;
use super::section::{Field, Named, Problems, Section, shown, shown_key};
use super::{
    Conflict, Defaults, Ids, Mode, NodeConfig, Operations, Rename, TableConfig, TableNode, compare, conflict, defaults,
    filter, mapping, section_at, section_of, template,
};
use crate::model::NodeId;

/// All tables in the order of the file. Every table gets a part for each of `names`.
pub(super) fn read(
    section: &Section<'_>,
    defaults: &Defaults,
    nodes: &[NodeConfig],
    names: &[String],
    problems: &mut Problems<'_>,
) -> Vec<TableConfig> {
    let fields = section.fields(problems.source);
    if fields.is_empty() {
        problems.add(&section.place, Show::Line, "no tables: [tables] is empty", super::ADD_TABLE);
    }
    let tables: Vec<TableConfig> =
        fields.iter().filter_map(|field| table(field, defaults, nodes, names, problems)).collect();
    refuse_doubles(&tables, nodes, names, problems);
    tables
}

/// The place of the node called `name`, or a problem.
pub(super) fn node_called(name: &Named, nodes: &[String], show: Show, problems: &mut Problems<'_>) -> Option<NodeId> {
    match nodes.iter().position(|node| *node == name.name) {
        Some(at) => u16::try_from(at).ok().map(NodeId),
        None => {
            let help = nearest::suggestion(&name.name, nodes.iter().map(String::as_str), "nodes");
            problems.add(&name.place, show, format!("no node is called `{}`", shown(&name.name)), help);
            None
        }
    }
}

fn table(
    field: &Field<'_>,
    defaults: &Defaults,
    nodes: &[NodeConfig],
    names: &[String],
    problems: &mut Problems<'_>,
) -> Option<TableConfig> {
    if field.name.is_empty() || field.name.chars().any(char::is_control) {
        let what = format!("`{}` cannot be the name of a table", shown(field.name));
        problems.add(&field.key, Show::Line, what, "name it as the databases do: [tables.customers]");
    }
    let section = Section::open(field, section_of(field.name), Show::Line, problems)?;
    let has_schema_form = |key: &str| {
        section.field(key, problems.source).is_some_and(|part| part.item.is_table()).then(|| {
            format!("a name with a point in it is written in quotes: [tables.\"{}.{}\"]", shown(field.name), shown(key))
        })
    };
    let schema_hints: HashMap<String, String> = section
        .fields(problems.source)
        .iter()
        .filter_map(|part| has_schema_form(part.name).map(|hint| (part.name.to_owned(), hint)))
        .collect();
    let known = ["mode", "conflict", "from", "operations", "updated", "ids", "lossy", "nodes"];
    section.only(
        &known,
        &|key| match key {
            "table" | "columns" | "omit" => Some(format!(
                "it belongs to one node: [tables.{}.nodes.{}]",
                shown_key(field.name),
                names.first().map_or("office", String::as_str)
            )),
            "prefer" | "sum" => Some(format!("write conflict = {{ {key} = […] }}")),
            "filter" | "mapping" => Some(format!(
                "it is about the rows of one node: [tables.{}.nodes.{}]",
                shown_key(field.name),
                names.first().map_or("office", String::as_str)
            )),
            "resolver" | "plugin" => Some("write conflict = { plugin = \"…\" }".to_owned()),
            _ if nearest::nearest(key, known).is_some() => None,
            _ => schema_hints.get(key).cloned(),
        },
        problems,
    );
    let own_conflict = conflict::read(&section, names, true, problems);
    let from =
        section.text("from", "\"office\"", problems).and_then(|name| node_called(&name, names, Show::Line, problems));
    if let (Some(from), Some(_), Some(field)) = (from, &own_conflict, section.field("conflict", problems.source)) {
        let from = names.get(from.index()).map_or("", String::as_str);
        let what = format!("changes of {} come from `{from}` alone, so none conflict", shown(&section.title));
        problems.warn(&field.key, Show::Line, what, "remove `conflict`, or `from`");
    }
    let own_mode = compare::mode(&section, problems);
    let why = own_mode.as_ref().map_or(&field.key, |(_, place)| place).clone();
    let bare = nodes.iter().find(|node| node.mode == Mode::Compare).map(|node| node.name.as_str());
    let mode = compare::mode_of(field.name, own_mode, bare, problems);
    let place_of = |key: &str, problems: &Problems<'_>| section.field(key, problems.source).map(|field| field.value);
    let parts = table_nodes(&section, field, names, problems);
    let table = TableConfig {
        name: field.name.to_owned(),
        place: field.key.clone(),
        mode,
        conflict: own_conflict.unwrap_or_else(|| defaults.conflict.clone()),
        from,
        operations: operations(&section, problems),
        ids: match (mode, defaults::ids(&section, problems)) {
            (Mode::Compare, _) => Ids::Unchanged,
            (Mode::Triggers, own) => own.unwrap_or(defaults.ids),
        },
        updated: section.text("updated", "\"changed_at\"", problems),
        lossy: section.names("lossy", "[\"price\"]", problems).unwrap_or_default(),
        nodes: parts,
    };
    for named in &table.lossy {
        // The file need not repeat the catalogue's case.
        let is_it = |other: &Named| other.name.eq_ignore_ascii_case(&named.name);
        let what = match &table.conflict {
            Conflict::Sum(sums) if sums.iter().any(is_it) => "is added up",
            _ if table.updated.as_ref().is_some_and(is_it) => "tells which row is the later",
            _ if mode == Mode::Compare => "belongs to a table that is compared",
            _ => continue,
        };
        let what = format!("`{}` {what}, so nothing of it may be lost", shown(&named.name));
        problems.add(&named.place, Show::Line, what, "take it out of `lossy`, and give all nodes the same type for it");
    }
    if mode == Mode::Compare {
        let places = ["conflict", "operations", "ids"].map(|key| place_of(key, problems));
        let [conflict, operations, ids] = &places;
        compare::judge(&table, &why, bare, conflict.as_ref(), operations.as_ref(), ids.as_ref(), problems);
    }
    filter::judge(&table, names, problems);
    mapping::judge(&table, problems);
    Some(table)
}

fn operations(section: &Section<'_>, problems: &mut Problems<'_>) -> Operations {
    const NAMES: [&str; 3] = ["insert", "update", "delete"];
    let Some(names) = section.names("operations", "[\"insert\", \"update\"]", problems) else {
        return Operations::ALL;
    };
    for name in names.iter().filter(|name| !NAMES.contains(&name.name.as_str())) {
        let help = nearest::suggestion(&name.name, NAMES, "operations");
        problems.add(&name.place, Show::Line, format!("no operation is called `{}`", shown(&name.name)), help);
    }
    let has = |name: &str| names.iter().any(|one| one.name == name);
    Operations { insert: has("insert"), update: has("update"), delete: has("delete") }
}

/// The table's part for each node: what its `[tables.….nodes.…]` section says, or that all is alike.
fn table_nodes(
    section: &Section<'_>,
    table: &Field<'_>,
    names: &[String],
    problems: &mut Problems<'_>,
) -> Vec<TableNode> {
    let mut parts: Vec<TableNode> = (0..names.len())
        .map(|at| TableNode {
            node: NodeId(u16::try_from(at).unwrap_or(u16::MAX)),
            table: table.name.to_owned(),
            place: table.key.clone(),
            columns: Vec::new(),
            omit: Vec::new(),
            filter: None,
            mapping: None,
        })
        .collect();
    let Some(field) = section.field("nodes", problems.source) else { return parts };
    let title = format!("[tables.{}.nodes]", template::key(table.name));
    let Some(nodes) = Section::open(&field, title, Show::Line, problems) else { return parts };
    for field in nodes.fields(problems.source) {
        let name = Named { name: field.name.to_owned(), place: field.key.clone() };
        let id = node_called(&name, names, Show::Line, problems);
        let title = section_at(table.name, field.name);
        let Some(section) = Section::open(&field, title, Show::Line, problems) else { continue };
        let part = table_node(&section, table.name, id.unwrap_or(NodeId(0)), problems);
        if let Some(slot) = id.and_then(|id| parts.get_mut(id.index())) {
            *slot = part;
        }
    }
    parts
}

fn table_node(section: &Section<'_>, table: &str, node: NodeId, problems: &mut Problems<'_>) -> TableNode {
    section.only(
        &["table", "columns", "omit", "filter", "mapping"],
        &|key| match key {
            "plugin" | "where" => Some("write filter = { plugin = \"…\" }".to_owned()),
            "mode" | "conflict" | "from" | "operations" | "updated" | "lossy" => {
                Some(format!("it holds for all nodes: put it in [tables.{}]", shown_key(table)))
            }
            _ => None,
        },
        problems,
    );
    let local = section.text("table", "\"Kunden\"", problems);
    let columns = renames(section, problems);
    let omit = section.names("omit", "[\"notes\"]", problems).unwrap_or_default();
    for column in &omit {
        if columns.iter().any(|rename| rename.shared == column.name) {
            let what = format!("`{}` is both renamed and left out here", shown(&column.name));
            problems.add(&column.place, Show::Line, what, "remove it from `omit` or from `columns`");
        }
    }
    TableNode {
        node,
        table: local.map_or_else(|| table.to_owned(), |local| local.name),
        place: section.place.clone(),
        columns,
        omit,
        filter: filter::read(section, problems),
        mapping: mapping::read(section, problems),
    }
}

fn renames(section: &Section<'_>, problems: &mut Problems<'_>) -> Vec<Rename> {
    const EXAMPLE: &str = "{ name = \"Vollname\" }";
    let Some(field) = section.field("columns", problems.source) else { return Vec::new() };
    if field.item.as_table_like().is_none() {
        section.wrong_type(&field, "a section of shared = \"local\" names", EXAMPLE, problems);
        return Vec::new();
    }
    let title = format!("`columns` of {}", section.title);
    let Some(columns) = Section::open(&field, title, Show::Line, problems) else { return Vec::new() };
    let mut renames: Vec<Rename> = Vec::new();
    for column in columns.fields(problems.source) {
        let Some(local) = columns.text(column.name, "\"Vollname\"", problems) else { continue };
        match renames.iter().find(|other| other.local == local.name) {
            Some(other) => problems.add(
                &local.place,
                Show::Line,
                format!(
                    "the local column `{}` is given to both `{}` and `{}`",
                    shown(&local.name),
                    shown(&other.shared),
                    shown(column.name)
                ),
                "each local column stands for one shared column",
            ),
            None => renames.push(Rename { shared: column.name.to_owned(), local: local.name, place: column.key }),
        }
    }
    renames
}

/// Two shared tables cannot be the same table of one node.
fn refuse_doubles(tables: &[TableConfig], nodes: &[NodeConfig], names: &[String], problems: &mut Problems<'_>) {
    for (at, name) in names.iter().enumerate() {
        // Names of SQLite's tables do not distinguish capitals.
        let folds = nodes.iter().any(|node| node.name == *name && node.target.secret_url().starts_with("sqlite:"));
        let mut seen: HashMap<String, &str> = HashMap::new();
        for table in tables {
            let Some(part) = table.nodes.get(at) else { continue };
            let local = if folds { part.table.to_lowercase() } else { part.table.clone() };
            match seen.get(&local) {
                Some(first) => problems.add(
                    &part.place,
                    Show::Line,
                    format!(
                        "`{}` and `{}` are both the table `{}` at node `{}`",
                        shown(first),
                        shown(&table.name),
                        shown(&part.table),
                        shown(name)
                    ),
                    "give one of them another `table`",
                ),
                None => {
                    seen.insert(local, &table.name);
                }
            }
        }
    }
}

//! What a table looks like: the shape that all nodes share, as it is agreed on.

use std::collections::HashMap;
use std::sync::Arc;

use super::mapped::{held_behind, reshape, seen_behind};
use super::plugins::Plugins;
use super::settle;
use super::subset::Subset;
use super::table::{Form, SharedColumn, Table};
use crate::config::{Config, Conflict, Diagnostic, Mode, Operations, TableConfig, section_at};
use crate::merge::Policy;
use crate::model::{Domain, Grain, NodeId, Type};
use crate::node::Catalogue;
use crate::plugin::Resolver;

impl Table {
    /// A table that is kept in step by comparison, whose shape is found when it is compared.
    pub fn to_be_compared(config: &Config, index: usize) -> Table {
        let table = &config.tables[index];
        Table {
            index,
            name: table.name.clone(),
            key: Vec::new(),
            policy: built_in(&table.conflict, &[]).unwrap_or(Policy::LatestWins),
            resolver: None,
            subsets: Vec::new(),
            mappings: Vec::new(),
            operations: table.operations,
            updated: None,
            from: table.from,
            compared: true,
            forms: vec![None; config.nodes.len()],
            stopped: None,
            filtered_otherwise: None,
            as_installed: HashMap::new(),
            uncompared: None,
            columns: Vec::new(),
        }
    }

    /// The shape that the nodes' tables share, and every node's form; or everything that stands in the way.
    pub fn agreed(
        config: &Config,
        index: usize,
        catalogues: &[(NodeId, Catalogue)],
        plugins: &mut Plugins,
    ) -> Result<Table, Vec<Diagnostic>> {
        let table = &config.tables[index];
        let mut problems = Vec::new();
        let mut reshapes = Vec::with_capacity(catalogues.len());
        let mut seen: Vec<(NodeId, Catalogue)> = Vec::with_capacity(catalogues.len());
        for (node, catalogue) in catalogues {
            match reshape(config, table, *node, catalogue, plugins) {
                Ok(reshape) => {
                    seen.push((
                        *node,
                        reshape.as_deref().map_or(catalogue.clone(), |made| seen_behind(catalogue, made)),
                    ));
                    reshapes.push(reshape);
                }
                Err(why) => {
                    let used = table.nodes[node.index()].mapping.as_ref().map_or(&table.place, |used| &used.place);
                    problems.push(config.diagnostic(used, why, ""));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (node, catalogue) in catalogues {
            let place = &table.nodes[node.index()].place;
            // To the only source of a table nothing is written.
            let written = catalogue.written_refusals.iter().filter(|_| table.from != Some(*node));
            for refusal in catalogue.refusals.iter().chain(written) {
                let message =
                    format!("`{}` at {} cannot be synced: {refusal}", table.name, config.nodes[node.index()].name);
                problems.push(config.diagnostic(place, message, ""));
            }
        }
        let mut columns = shared_columns(config, table, &seen, &mut problems);
        let key = shared_key(config, table, &seen, &columns, &mut problems);
        let held = catalogues.iter().zip(&reshapes).map(|((node, catalogue), reshape)| {
            (*node, reshape.as_deref().map_or_else(|| catalogue.clone(), |made| held_behind(catalogue, made)))
        });
        let held: Vec<(NodeId, Catalogue)> = held.collect();
        allow_losses(config, table, &held, &key, &mut columns, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Conflict::Sum(named) = &table.conflict {
            for column in named {
                let shared = columns.iter().position(|shared| shared.name == column.name);
                let message = match shared {
                    None => format!("`{}` has no column `{}` to sum", table.name, column.name),
                    Some(place) if key.contains(&place) => {
                        format!("`{}` is part of the key of `{}`", column.name, table.name)
                    }
                    Some(place)
                        if !matches!(columns[place].ty, Type::Int | Type::Decimal | Type::Float | Type::Any) =>
                    {
                        format!(
                            "`{}` of `{}` holds {}, which cannot be summed",
                            column.name, table.name, columns[place].ty
                        )
                    }
                    Some(_) => continue,
                };
                problems.push(config.diagnostic(&column.place, message, "name columns that hold numbers"));
            }
        }
        let updated = updated(config, table, &columns, &mut problems);
        let (policy, resolver) = match policy(config, table, &columns, &key, plugins) {
            Ok(policy) => policy,
            Err(problem) => {
                problems.push(*problem);
                return Err(problems);
            }
        };
        carried_whole(config, table, &policy, &mut problems);
        lossless(config, table, &columns, &policy, &mut problems);
        let subsets = match subsets(config, table, &columns, &key, &policy, plugins) {
            Ok(subsets) => subsets,
            Err(problem) => {
                problems.push(*problem);
                return Err(problems);
            }
        };
        let mappings = match mappings(config, table, plugins) {
            Ok(mappings) => mappings,
            Err(problem) => {
                problems.push(*problem);
                return Err(problems);
            }
        };
        everywhere(config, table, &columns, &policy, &mut problems);
        let mut agreed = Table {
            index,
            name: table.name.clone(),
            policy,
            resolver,
            subsets,
            mappings,
            operations: table.operations,
            updated,
            from: table.from,
            compared: table.mode == Mode::Compare,
            forms: vec![None; config.nodes.len()],
            stopped: None,
            filtered_otherwise: None,
            as_installed: HashMap::new(),
            uncompared: None,
            key,
            columns,
        };
        for ((node, catalogue), reshape) in catalogues.iter().zip(reshapes) {
            match agreed.form_with(table, *node, catalogue, reshape) {
                Ok(form) => agreed.forms[node.index()] = Some(form),
                Err(why) => problems.push(config.diagnostic(&table.nodes[node.index()].place, why, "")),
            }
        }
        agreed.keys_that_meet(config, &mut problems);
        if problems.is_empty() { Ok(agreed) } else { Err(problems) }
    }

    /// What two nodes make the same keys of, although these are of two rows.
    fn keys_that_meet(&self, config: &Config, problems: &mut Vec<Diagnostic>) {
        let table = &config.tables[self.index];
        let forms = self.forms.iter().enumerate().filter_map(|(at, form)| Some((NodeId(at as u16), form.as_ref()?)));
        let forms: Vec<(NodeId, &Form)> = forms.collect();
        for (at, &(one, form)) in forms.iter().enumerate() {
            for &(other, other_form) in &forms[at + 1..] {
                let rule = |form: &Form, at: usize| form.spec.keys.get(at).cloned().flatten();
                let meet = (0..self.key.len()).find(|&at| match (rule(form, at), rule(other_form, at)) {
                    (None, None) => false,
                    (Some(rule), Some(other)) => !rule.suits(&other),
                    // Who only takes rows may take their keys as they are shared.
                    (Some(_), None) => self.is_source(other),
                    (None, Some(_)) => self.is_source(one),
                });
                if let Some(at) = meet {
                    let name = |node: NodeId| &config.nodes[node.index()].name;
                    let message = format!(
                        "`{}` of `{}` is a key that each node makes for itself, and the mappings at {} and {} make no one key space of it",
                        self.columns[self.key[at]].name,
                        self.name,
                        name(one),
                        name(other)
                    );
                    let help = "give every node the mapping, all with the same `of` and each with another `slot`, or each with the \
                                prefixes of all others";
                    problems.push(config.diagnostic(&table.nodes[other.index()].place, message, help));
                }
            }
        }
    }

    pub(super) fn key_names(&self) -> String {
        self.key.iter().map(|&place| self.columns[place].name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Names as SQL compares them where nobody quoted them: the file need not repeat the catalogue's case.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.eq_ignore_ascii_case(b)
}

/// The place of the column that tells when a row was last changed.
fn updated(
    config: &Config,
    table: &TableConfig,
    columns: &[SharedColumn],
    problems: &mut Vec<Diagnostic>,
) -> Option<usize> {
    let named = table.updated.as_ref()?;
    let place = columns.iter().position(|column| same_name(&column.name, &named.name));
    let message = match place.map(|place| &columns[place].ty) {
        None => format!("`{}` has no column `{}`", table.name, named.name),
        Some(ty) if !settle::tells_age(ty) => {
            format!("`{}` of `{}` holds {ty}, which does not tell what is later", named.name, table.name)
        }
        Some(_) => return place,
    };
    problems.push(config.diagnostic(&named.place, message, "name a column that holds times or rising numbers"));
    None
}

/// How the table's conflicts are decided, and who is asked about them.
pub(super) fn policy(
    config: &Config,
    table: &TableConfig,
    columns: &[SharedColumn],
    key: &[usize],
    plugins: &mut Plugins,
) -> Result<(Policy, Option<Arc<Resolver>>), Box<Diagnostic>> {
    Ok(match &table.conflict {
        // Where changes come from one node alone nobody is ever asked.
        Conflict::Plugin(used) if table.from.is_none() => {
            let resolver = plugins.resolver(config, &table.name, columns, key, used);
            let resolver = resolver.map_err(|why| Box::new(config.diagnostic(&used.place, why.to_string(), "")))?;
            (Policy::Asked { recorded: resolver.recorded().to_vec() }, Some(resolver))
        }
        conflict => (built_in(conflict, columns).unwrap_or(Policy::LatestWins), None),
    })
}

/// Why a table's conflicts cannot be decided by what each change did, as not every change is carried.
fn counts_in_part(table: &TableConfig, policy: &Policy) -> Option<String> {
    let is_whole = !policy.merges() || table.from.is_some() || table.operations == Operations::ALL;
    (!is_whole).then(|| {
        format!(
            "conflicts of `{}` are decided by what each change did, and where some operations are not carried nobody can tell of each \
             change whether it is in a row: what is made, changed or deleted at one node alone would be counted at the others",
            table.name
        )
    })
}

/// The same of a table that an earlier Concord installed so, with what to do. Until then it goes on: were it refused, nobody could
/// carry any more what is on its way, and that has to arrive before another file is installed.
pub(super) fn goes_on_in_part(table: &TableConfig, policy: &Policy) -> Option<String> {
    let why = counts_in_part(table, policy)?;
    let name = &table.name;
    Some(format!(
        "{why}; it goes on as it was installed until that is put right: while nobody writes to `{name}`, run `concord sync` until nothing \
         of it is left to carry or waits, remove `operations` (or name another policy), run `concord install`, and then `concord verify \
         --table {name}`"
    ))
}

/// Only where it is agreed on anew, see [`goes_on_in_part`].
fn carried_whole(config: &Config, table: &TableConfig, policy: &Policy, problems: &mut Vec<Diagnostic>) {
    let place = match &table.conflict {
        Conflict::Plugin(used) => &used.place,
        Conflict::Sum(named) => named.first().map_or(&table.place, |column| &column.place),
        _ => &table.place,
    };
    let why = counts_in_part(table, policy);
    problems.extend(why.map(|why| config.diagnostic(place, why, "remove `operations`, or let another policy decide")));
}

/// Which rows belong at each node.
pub(super) fn subsets(
    config: &Config,
    table: &TableConfig,
    columns: &[SharedColumn],
    key: &[usize],
    policy: &Policy,
    plugins: &mut Plugins,
) -> Result<Vec<Option<Subset>>, Box<Diagnostic>> {
    let mut subsets = Vec::with_capacity(table.nodes.len());
    for part in &table.nodes {
        let Some(used) = &part.filter else {
            subsets.push(None);
            continue;
        };
        let refuse = |why: String, help: &str| Box::new(config.diagnostic(&used.place, why, help));
        if policy.merges() {
            let why = format!(
                "the resolver of `{}` is told what each change did, and where a row does not belong nobody can tell what a new \
                 one adds to",
                table.name
            );
            return Err(refuse(why, "remove `filter`, or let another policy decide"));
        }
        let subset = plugins.subset(config, &table.name, columns, key, used);
        subsets.push(Some(subset.map_err(|why| refuse(why.to_string(), ""))?));
    }
    // Where there is no filter nothing is looked up.
    Ok(if subsets.iter().any(Option::is_some) { subsets } else { Vec::new() })
}

/// What tells the mapping at each node from others.
pub(super) fn mappings(
    config: &Config,
    table: &TableConfig,
    plugins: &mut Plugins,
) -> Result<Vec<Option<String>>, Box<Diagnostic>> {
    let mut marks = Vec::with_capacity(table.nodes.len());
    for part in &table.nodes {
        let Some(used) = &part.mapping else {
            marks.push(None);
            continue;
        };
        let mark = plugins.mapping_mark(config, used);
        marks.push(Some(mark.map_err(|why| Box::new(config.diagnostic(&used.place, why.to_string(), "")))?));
    }
    Ok(if marks.iter().any(Option::is_some) { marks } else { Vec::new() })
}

/// The policy that decides without a plugin, if none is named.
pub(super) fn built_in(conflict: &Conflict, columns: &[SharedColumn]) -> Option<Policy> {
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    match conflict {
        Conflict::LatestWins => Some(Policy::LatestWins),
        Conflict::EarliestWins => Some(Policy::EarliestWins),
        Conflict::Park => Some(Policy::Park),
        Conflict::Prefer(nodes) => Some(Policy::Prefer(nodes.clone())),
        Conflict::Sum(named) => Some(Policy::Sum(named.iter().filter_map(|column| place(&column.name)).collect())),
        Conflict::Plugin(_) => None,
    }
}

/// What is recorded at one node has to be recorded at all, or changes could not be told from one to the other.
fn everywhere(
    config: &Config,
    table: &TableConfig,
    columns: &[SharedColumn],
    policy: &Policy,
    problems: &mut Vec<Diagnostic>,
) {
    for &place in policy.recorded() {
        let name = &columns[place].name;
        for here in table.nodes.iter().filter(|here| here.omits(name)) {
            let node = &config.nodes[here.node.index()].name;
            let message = format!(
                "`{name}` of `{}` does not live at {node}, and the table's conflicts are decided by what each change did to it",
                table.name
            );
            problems.push(config.diagnostic(&here.place, message, "take it out of `omit`, or out of `conflict`"));
        }
    }
}

/// The shared names of the columns that the table has anywhere and that no database computes, in the order of the first node that has
/// them.
pub(super) fn shared_names(table: &TableConfig, catalogues: &[(NodeId, Catalogue)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (node, catalogue) in catalogues {
        let here = &table.nodes[node.index()];
        for column in catalogue.columns.iter().filter(|column| !column.generated) {
            let local = here.columns.iter().find(|rename| same_name(&rename.local, &column.name));
            let shared = local.map_or(column.name.as_str(), |rename| &rename.shared);
            if !names.iter().any(|name| same_name(name, shared)) {
                names.push(shared.to_owned());
            }
        }
    }
    names
}

/// The columns that the table has anywhere.
fn shared_columns(
    config: &Config,
    table: &TableConfig,
    catalogues: &[(NodeId, Catalogue)],
    problems: &mut Vec<Diagnostic>,
) -> Vec<SharedColumn> {
    let mut columns = Vec::new();
    for name in shared_names(table, catalogues) {
        let mut domains: Vec<(String, &Domain)> = Vec::new();
        for (node, catalogue) in catalogues {
            let here = &table.nodes[node.index()];
            if here.omits(&name) {
                continue;
            }
            let local = here.local(&name);
            let node_name = &config.nodes[node.index()].name;
            let section = section_at(&table.name, node_name);
            let found = catalogue.columns.iter().find(|column| same_name(&column.name, local));
            match found {
                Some(column) if column.generated => {
                    let message = format!("`{local}` of `{}` is computed by the database at {node_name}", table.name);
                    let help = format!("add to {section}: omit = [\"{name}\"]");
                    problems.push(config.diagnostic(&here.place, message, help));
                }
                Some(column) => {
                    let who = format!("`{}` of `{}` at {node_name} ({})", column.name, catalogue.name, column.native);
                    domains.push((who, &column.domain));
                }
                None if here.mapping.is_some() => {
                    let message = format!("the mapping of `{}` at {node_name} makes no column `{local}`", table.name);
                    let help = format!(
                        "let it make one, or, if `{name}` is not to live there, add to {section}: omit = [\"{name}\"]; if it makes one \
                         of another name: columns = {{ {name} = \"…\" }}"
                    );
                    problems.push(config.diagnostic(&here.place, message, help));
                }
                None => {
                    let message = format!("`{}` has no column `{local}` at {node_name}", table.name);
                    let help = format!(
                        "add it to `{}` there, or, if it is not to live there, add to {section}: omit = [\"{name}\"]; if it has another \
                         name there: columns = {{ {name} = \"…\" }}",
                        catalogue.name
                    );
                    problems.push(config.diagnostic(&here.place, message, help));
                }
            }
        }
        match Type::shared(domains) {
            Ok(ty) => columns.push(SharedColumn { name, ty, grain: None }),
            Err(why) => problems.push(config.diagnostic(&table.place, why, "")),
        }
    }
    // What nobody has who is there, a node may have that is away.
    for here in table.nodes.iter().filter(|_| catalogues.len() == config.nodes.len()) {
        for omitted in
            here.omit.iter().filter(|omitted| !columns.iter().any(|column| same_name(&column.name, &omitted.name)))
        {
            let message = format!("no node has a column `{}` of `{}`", omitted.name, table.name);
            problems.push(config.diagnostic(&omitted.place, message, "take it out of `omit`"));
        }
    }
    columns
}

/// Finds to what the values of columns are brought of which the file says that they may lose something.
fn allow_losses(
    config: &Config,
    table: &TableConfig,
    catalogues: &[(NodeId, Catalogue)],
    key: &[usize],
    columns: &mut [SharedColumn],
    problems: &mut Vec<Diagnostic>,
) {
    for named in &table.lossy {
        let place = columns.iter().position(|column| same_name(&column.name, &named.name));
        let name = &table.name;
        let (message, help) = match place {
            None => {
                (format!("`{name}` has no column `{}`", named.name), "name a column that some nodes keep less exactly")
            }
            Some(place) if key.contains(&place) => (
                format!("`{}` is part of the key of `{name}`: two rows might become one", named.name),
                "give all nodes the same type for it",
            ),
            Some(place) => {
                let domains = catalogues.iter().filter_map(|(node, catalogue)| {
                    let here = &table.nodes[node.index()];
                    let local = here.local(&columns[place].name);
                    let found = catalogue.columns.iter().find(|column| same_name(&column.name, local));
                    found.filter(|_| !here.omits(&columns[place].name)).map(|column| &column.domain)
                });
                let grain = Grain::common(domains);
                columns[place].grain = grain;
                match grain {
                    Some(_) => continue,
                    None => (
                        format!("all nodes keep `{}` of `{name}` alike, so there is nothing to lose", named.name),
                        "take it out of `lossy`",
                    ),
                }
            }
        };
        problems.push(config.diagnostic(&named.place, message, help));
    }
}

/// What each change did is recorded as it was done at its node, and would not fit what versions have been rounded to.
fn lossless(
    config: &Config,
    table: &TableConfig,
    columns: &[SharedColumn],
    policy: &Policy,
    problems: &mut Vec<Diagnostic>,
) {
    let is_recorded = |name: &str| policy.recorded().iter().any(|&place| same_name(&columns[place].name, name));
    for named in table.lossy.iter().filter(|named| is_recorded(&named.name)) {
        let message = format!(
            "conflicts of `{}` are decided by what each change did to `{}`, so nothing of it may be lost",
            table.name, named.name
        );
        let help =
            "take it out of `lossy`, and give all nodes the same type for it; or let another rule decide about it";
        problems.push(config.diagnostic(&named.place, message, help));
    }
}

/// Places of the key in the shared columns; it has to be the same at all nodes.
fn shared_key(
    config: &Config,
    table: &TableConfig,
    catalogues: &[(NodeId, Catalogue)],
    columns: &[SharedColumn],
    problems: &mut Vec<Diagnostic>,
) -> Vec<usize> {
    let mut agreed: Option<(NodeId, Vec<usize>)> = None;
    for (node, catalogue) in catalogues {
        let here = &table.nodes[node.index()];
        let node_name = &config.nodes[node.index()].name;
        if catalogue.key.is_empty() {
            if catalogue.refusals.is_empty() {
                let message = format!("`{}` at {node_name} has no key to identify rows by", catalogue.name);
                let help = "add a primary key, or a unique index over columns that are all NOT NULL";
                problems.push(config.diagnostic(&here.place, message, help));
            }
            continue;
        }
        let mut key = Vec::new();
        for local in &catalogue.key {
            let shared = here.columns.iter().find(|rename| same_name(&rename.local, local));
            let shared = shared.map_or(local.as_str(), |rename| &rename.shared);
            let Some(place) = columns.iter().position(|column| same_name(&column.name, shared)) else { continue };
            let loose_float = catalogue.columns.iter().any(|column| {
                column.name == *local && matches!(&column.domain, Domain::Loose { affinity, .. } if affinity == "REAL")
            });
            if loose_float || !columns[place].ty.identifies() {
                let message =
                    format!("`{local}`, in the key of `{}` at {node_name}, holds {}", table.name, columns[place].ty);
                problems.push(config.diagnostic(
                    &here.place,
                    message,
                    "identify rows by integers, text, decimals or uuids",
                ));
            }
            // A key has to be readable whatever it is; 16 bytes are always a uuid.
            let column = catalogue.columns.iter().find(|column| column.name == *local);
            if let Some(column) =
                column.filter(|column| column.domain.poses_as(&columns[place].ty) && column.native != "binary(16)")
            {
                let message = format!(
                    "`{local}`, in the key of `{}` at {node_name}, is {} and may hold what is no {}",
                    table.name, column.native, columns[place].ty
                );
                problems.push(config.diagnostic(
                    &here.place,
                    message,
                    "give it the type that it has at the other nodes",
                ));
            }
            key.push(place);
        }
        match &agreed {
            None => agreed = Some((*node, key)),
            Some((first, other)) => {
                let same = other.len() == key.len() && key.iter().all(|place| other.contains(place));
                if !same {
                    let names =
                        |key: &[usize]| key.iter().map(|&p| columns[p].name.as_str()).collect::<Vec<_>>().join(", ");
                    let message = format!(
                        "the key of `{}` is ({}) at {node_name} and ({}) at {}",
                        table.name,
                        names(&key),
                        names(other),
                        config.nodes[first.index()].name
                    );
                    problems.push(config.diagnostic(&here.place, message, "give both the same key"));
                }
            }
        }
    }
    agreed.map_or_else(Vec::new, |(_, key)| key)
}

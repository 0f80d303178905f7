//! Keys that databases draw by counting: which of them can collide, and that nodes count in steps of their own.

use super::check::Checked;
use super::session::Session;
use super::setup::NodeLines;
use super::shape::same_name;
use super::table::Table;
use crate::config::{Config, Ids, Mode, TableConfig, section_of};
use crate::error::{Error, Result};
use crate::model::{KeyRule, NodeId};
use crate::node::{Catalogue, Numbered, Numbers, Steps};

/// How many numbers a node may draw between the look at it and the change of it without any node's having to be changed
/// again. What is passed over once is lost to nobody.
const MARGIN: i64 = 1_000;

/// How often the nodes are changed again because somebody drew more numbers than that meanwhile.
const ROUNDS: u32 = 5;

/// A column of a table's key by its shared name, where it is numbered.
struct Counting<'a> {
    node: NodeId,
    column: String,
    numbered: &'a Numbered,
}

/// Says which keys of a two-way table can collide, and what stands in the way of preventing it.
pub(super) fn judge(config: &Config, index: usize, catalogues: &[(NodeId, Catalogue)], checked: &mut Checked) {
    let table = &config.tables[index];
    if table.from.is_some() {
        return;
    }
    let counting = catalogues.iter().flat_map(|(node, catalogue)| {
        let part = &table.nodes[node.index()];
        catalogue.numbered.iter().map(move |numbered| {
            let renamed = part.columns.iter().find(|rename| same_name(&rename.local, &numbered.column));
            let column = renamed.map_or(&numbered.column, |rename| &rename.shared).clone();
            Counting { node: *node, column, numbered }
        })
    });
    let counting: Vec<Counting<'_>> = counting.collect();
    // One column, although nodes may spell it in several ways.
    let mut columns: Vec<&str> = Vec::new();
    for counting in &counting {
        if !columns.iter().any(|known| same_name(known, &counting.column)) {
            columns.push(&counting.column);
        }
    }
    for column in columns {
        let nodes: Vec<&Counting<'_>> =
            counting.iter().filter(|counting| same_name(&counting.column, column)).collect();
        // One that counts alone collides with nobody who counts.
        if nodes.len() < 2 {
            continue;
        }
        let name = |node: NodeId| config.nodes[node.index()].name.as_str();
        if table.ids == Ids::Interleave {
            for counting in nodes {
                let (step, slot) = (config.nodes.len() as i64, counting.node.index() as i64);
                let of_server = || counting.numbered.server.as_ref().and_then(|server| server.obstacle(step, slot));
                if let Some(obstacle) = counting.numbered.obstacle.clone().or_else(of_server) {
                    let message = format!(
                        "`{}` is to be numbered in steps, and at {} that cannot be had for `{column}`: {obstacle}",
                        table.name,
                        name(counting.node)
                    );
                    let help = format!("or set ids = \"unchanged\" in {}", section_of(&table.name));
                    checked.problems.push(config.diagnostic(&table.place, message, help).to_string());
                }
            }
            continue;
        }
        let each: Vec<String> =
            nodes.iter().map(|counting| format!("{} by {}", name(counting.node), counting.numbered.by)).collect();
        let can_step = nodes.iter().all(|counting| counting.numbered.obstacle.is_none());
        let steps = match can_step && table.mode == Mode::Triggers {
            true => format!("set ids = \"interleave\" in {}, ", section_of(&table.name)),
            false => String::new(),
        };
        checked.warnings.push(format!(
            "table `{}`: several nodes number `{column}` by themselves ({}), so rows that are inserted at two of them get the \
             same key and count as one row in conflict; {steps}use uuids, or give each node a range of its own",
            table.name,
            each.join(", ")
        ));
    }
}

/// Warns of nodes that number rows of their own, and may begin among those of others: where rows that others made are kept below 0,
/// and the next number is one more than the greatest.
pub(super) fn judge_own(config: &Config, table: &Table, catalogues: &[(NodeId, Catalogue)], checked: &mut Checked) {
    for (node, catalogue) in catalogues {
        let Some(spec) = table.spec(*node).filter(|_| table.takes_rows(*node)) else { continue };
        let ruled = spec.key_columns().zip(&spec.keys).filter(|(_, rule)| matches!(rule, Some(KeyRule::Spread { .. })));
        let counts = |name: &str| {
            let numbered = catalogue.numbered.iter().find(|numbered| numbered.column == name);
            numbered.is_some_and(|numbered| numbered.from_the_greatest)
        };
        for (column, _) in ruled.filter(|(column, _)| counts(&column.name)) {
            checked.warnings.push(format!(
                "node `{}`: {} numbers `{}` by one from the greatest there is, and rows of other nodes have numbers below 0 there: while \
                 it has no rows of its own it would go on among theirs; declare it INTEGER PRIMARY KEY AUTOINCREMENT, or insert the \
                 first row with a number",
                config.nodes[node.index()].name,
                spec.full_name(),
                column.name
            ));
        }
    }
}

impl Table {
    /// The places in the shared row of the columns that are to be numbered in steps, if there are any.
    pub(super) fn interleaved(&self, config: &TableConfig, catalogues: &[(NodeId, Catalogue)]) -> Option<Vec<usize>> {
        if config.ids != Ids::Interleave || self.from.is_some() {
            return None;
        }
        let is_numbered = |shared: &str| {
            let at = |(node, catalogue): &&(NodeId, Catalogue)| {
                let local = config.nodes[node.index()].local(shared);
                catalogue.numbered.iter().any(|numbered| same_name(&numbered.column, local))
            };
            catalogues.iter().filter(at).count() > 1
        };
        let places: Vec<usize> =
            self.key.iter().copied().filter(|&place| is_numbered(&self.columns[place].name)).collect();
        (!places.is_empty()).then_some(places)
    }
}

impl Session {
    /// Makes nodes count in steps where the file asks for it, and as before where it no longer does. What was done is added to
    /// the nodes' lines.
    pub(super) async fn interleave(&mut self, numbered: &[(usize, Vec<usize>)], lines: &mut [NodeLines]) -> Result<()> {
        for member in &mut self.members {
            let tables = &self.tables;
            let mut keep = Vec::new();
            for (table, columns) in numbered {
                let Some(spec) = tables[*table].spec(member.id) else { continue };
                let places = spec
                    .columns
                    .iter()
                    .enumerate()
                    .filter(|(_, column)| column.shared.is_some_and(|shared| columns.contains(&shared)));
                keep.extend(places.map(|(place, _)| (&**spec, place)));
            }
            let Some(node) = member.node.as_deref_mut() else { continue };
            let done = node
                .restore_numbers(&keep)
                .await
                .map_err(Error::at(&member.name, "restoring how keys are numbered"))?;
            told(lines, &member.name, done);
        }
        for (table, columns) in numbered {
            for &column in columns {
                self.interleave_column(*table, column, lines).await?;
            }
        }
        Ok(())
    }

    /// The columns whose numbers would have to go on beyond what some node can hold, each with what to do.
    pub(super) async fn out_of_numbers(&mut self, numbered: &[(usize, Vec<usize>)]) -> Result<Vec<String>> {
        let step = self.members.len() as i64;
        let mut problems = Vec::new();
        for (table, columns) in numbered {
            for &column in columns {
                let reaches = self.reaches(*table, column).await?;
                let furthest = reaches.iter().max_by_key(|(_, reach)| reach.last);
                let narrowest = reaches.iter().min_by_key(|(_, reach)| reach.most);
                let Some(((far, Numbers { last, .. }), (narrow, Numbers { most, .. }))) = furthest.zip(narrowest)
                else {
                    continue;
                };
                if last.checked_add(MARGIN + step).is_some_and(|next| next <= *most) {
                    continue;
                }
                let config = &self.config.tables[self.tables[*table].index];
                let message = format!(
                    "`{}` is to be numbered in steps, beyond all numbers that there are, and `{}` has come to {last} at {} and ends \
                     at {most} at {}",
                    config.name,
                    self.tables[*table].columns[column].name,
                    self.names[far.index()],
                    self.names[narrow.index()]
                );
                let help = format!(
                    "give the row with that number another if it stands apart from all others, or make the column wider at every \
                     node, such as bigint (its sequence too), or set ids = \"unchanged\" in {}",
                    section_of(&config.name)
                );
                problems.push(self.config.diagnostic(&config.place, message, help).to_string());
            }
        }
        Ok(problems)
    }

    /// Lets nodes that were let in again count on beyond what they had drawn before they were put back, which by now stands there
    /// once more. What was done, or stands in the way, a line each.
    pub(super) async fn count_on(&mut self) -> Vec<String> {
        match self.try_count_on().await {
            Ok(lines) => lines,
            Err(error) => vec![format!("keys may be drawn twice until `concord install` is run: {error}")],
        }
    }

    async fn try_count_on(&mut self) -> Result<Vec<String>> {
        let mut numbered = Vec::new();
        for (place, table) in self.tables.iter().enumerate() {
            let config = &self.config.tables[table.index];
            if config.ids != Ids::Interleave || table.compared {
                continue;
            }
            let mut catalogues = Vec::new();
            for member in &mut self.members {
                let local = &config.nodes[member.id.index()].table;
                let Some(node) = member.node.as_deref_mut() else { continue };
                let found = node.catalogue(local).await;
                let found = found.map_err(Error::at(&member.name, format!("looking up `{local}`")))?;
                catalogues.extend(found.map(|catalogue| (member.id, catalogue)));
            }
            numbered.extend(table.interleaved(config, &catalogues).map(|columns| (place, columns)));
        }
        let problems = self.out_of_numbers(&numbered).await?;
        if !problems.is_empty() {
            return Err(Error::Refused(problems));
        }
        let mut lines: Vec<NodeLines> =
            self.names.iter().map(|name| NodeLines { node: name.clone(), done: Vec::new() }).collect();
        for (table, columns) in &numbered {
            for &column in columns {
                self.interleave_column(*table, column, &mut lines).await?;
            }
        }
        let told = lines.iter().flat_map(|node| node.done.iter().map(|line| format!("{}: {line}", node.node)));
        Ok(told.collect())
    }

    /// How far a column's numbers have come at each node, and can go.
    async fn reaches(&mut self, table: usize, column: usize) -> Result<Vec<(NodeId, Numbers)>> {
        let tables = &self.tables;
        let mut reaches = Vec::new();
        for member in &mut self.members {
            let Some((spec, node)) = tables[table].spec(member.id).zip(member.node.as_deref_mut()) else { continue };
            let Some(place) = spec.columns.iter().position(|known| known.shared == Some(column)) else { continue };
            let reach = node.numbers(spec, place).await;
            reaches.push((member.id, reach.map_err(Error::at(&member.name, "looking for the greatest key"))?));
        }
        Ok(reaches)
    }

    /// The greatest number that stands anywhere, of those that each node draws.
    async fn greatest_of_each(&mut self, table: usize, column: usize) -> Result<Vec<i64>> {
        let step = self.members.len() as i64;
        let tables = &self.tables;
        let mut greatest = vec![0; self.members.len()];
        for member in &mut self.members {
            let Some((spec, node)) = tables[table].spec(member.id).zip(member.node.as_deref_mut()) else { continue };
            let Some(place) = spec.columns.iter().position(|known| known.shared == Some(column)) else { continue };
            for (slot, greatest) in (0..).zip(&mut greatest) {
                let found = node.greatest_in(spec, place, step, slot).await;
                *greatest = found.map_err(Error::at(&member.name, "looking for the greatest key"))?.max(*greatest);
            }
        }
        Ok(greatest)
    }

    /// Every node's numbers are beyond all that stand anywhere or were drawn before the last node was changed.
    async fn interleave_column(&mut self, table: usize, column: usize, lines: &mut [NodeLines]) -> Result<()> {
        let step = self.members.len() as i64;
        let reaches = self.reaches(table, column).await?;
        let greatest = self.greatest_of_each(table, column).await?;
        let mut last = reaches.iter().map(|(_, reach)| reach.last).max().unwrap_or(0).max(0);
        let tables = &self.tables;
        for round in 0..ROUNDS {
            let mut drawn = last;
            let above = last.saturating_add(MARGIN);
            for member in &mut self.members {
                let Some((spec, node)) = tables[table].spec(member.id).zip(member.node.as_deref_mut()) else {
                    continue;
                };
                let Some(place) = spec.columns.iter().position(|known| known.shared == Some(column)) else { continue };
                let own = greatest[member.id.index()];
                let steps = Steps { step, slot: member.id.index() as i64, above, own, anew: round > 0 };
                let stepped = node.step_numbers(spec, place, steps).await;
                let stepped = stepped.map_err(Error::at(&member.name, "making keys count in steps"))?;
                drawn = drawn.max(stepped.last.filter(|_| round == 0).unwrap_or(last));
                told(lines, &member.name, stepped.done);
            }
            // What was drawn before the change of a node must not have reached what others draw since.
            if drawn <= above {
                break;
            }
            last = drawn;
        }
        Ok(())
    }
}

fn told(lines: &mut [NodeLines], node: &str, done: impl IntoIterator<Item = String>) {
    if let Some(lines) = lines.iter_mut().find(|lines| lines.node == node) {
        lines.done.extend(done);
    }
}

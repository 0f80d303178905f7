//! How the values of each column fare between the nodes, as `check` tells it before anything is carried.

use serde::Serialize;

use super::shape::{same_name, shared_names};
use super::table::{SharedColumn, Table};
use crate::config::{Config, TableConfig};
use crate::model::{Beyond, Domain, Grain, Lack, NodeId, Type};
use crate::node::{Catalogue, CatalogueColumn};

/// How a column's values fare from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    pub column: String,
    pub from: String,
    pub to: String,
    /// `exact`: each arrives as it is. `waits`: rows with some values wait. `lossy`: values are rounded or cut, as the file allows.
    /// `refused`: none could be carried, so that the table is not carried at all.
    pub fit: &'static str,
    /// Which values, or what becomes of them, or why it is refused; with `exact` what becomes of some where it counts as the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Table {
    /// All columns, from each node whose rows go anywhere to each that takes them. What becomes of values in a mapping only the
    /// plugin knows, but for those that it passes on as they are.
    pub(super) fn fits(&self, config: &Config, catalogues: &[(NodeId, Catalogue)]) -> Vec<Fit> {
        let spread = |column: &SharedColumn| {
            let found = |(node, catalogue): &'_ (NodeId, Catalogue)| -> Option<(NodeId, CatalogueColumn)> {
                let form = self.form(*node)?;
                let is_own = |shared: usize| self.columns[shared].name == column.name;
                let own = match form.lens.mapping() {
                    None => form.spec.columns.iter().find(|own| own.shared.is_some_and(is_own))?,
                    Some(reshape) => {
                        let local = config.tables[self.index].nodes[node.index()].local(&column.name);
                        let made = reshape.shape().columns.iter().position(|made| same_name(&made.name, local))?;
                        let copy = reshape.copies().iter().find(|(_, copy)| *copy == made);
                        copy.map(|(own, _)| &form.spec.columns[*own])?
                    }
                };
                Some((*node, catalogue.columns.iter().find(|other| other.name == own.name)?.clone()))
            };
            Spread {
                name: column.name.clone(),
                ty: Ok(column.ty.clone()),
                grain: column.grain,
                columns: catalogues.iter().filter_map(found).collect(),
            }
        };
        self.columns.iter().flat_map(|column| spread(column).fits(config, self.from)).collect()
    }
}

/// The columns of a table on whose shape the nodes do not agree, each with the type in which its values travel, and how these fare
/// between any two nodes that share one. Nothing of a table that has another shape somewhere: that is for its mapping to say.
pub(super) fn of_no_shape(
    config: &Config,
    index: usize,
    catalogues: &[(NodeId, Catalogue)],
) -> (Vec<(String, String)>, Vec<Fit>) {
    let table = &config.tables[index];
    if table.nodes.iter().any(|part| part.mapping.is_some()) {
        return (Vec::new(), Vec::new());
    }
    let names = shared_names(table, catalogues).into_iter();
    let spreads: Vec<Spread> = names.map(|name| Spread::found(config, table, catalogues, name)).collect();
    let told = |ty: &Result<Type, String>| ty.as_ref().map_or_else(|_| "no shared type".to_owned(), Type::to_string);
    let columns = spreads.iter().map(|spread| (spread.name.clone(), told(&spread.ty))).collect();
    (columns, spreads.iter().flat_map(|spread| spread.fits(config, table.from)).collect())
}

/// A shared column, and what it is at each node at which it lives.
struct Spread {
    name: String,
    /// The type in which its values travel, or why the nodes share none.
    ty: Result<Type, String>,
    grain: Option<Grain>,
    columns: Vec<(NodeId, CatalogueColumn)>,
}

impl Spread {
    /// What the nodes have under a shared name, where no mapping makes it.
    fn found(config: &Config, table: &TableConfig, catalogues: &[(NodeId, Catalogue)], name: String) -> Spread {
        let found = catalogues.iter().filter_map(|(node, catalogue)| {
            let here = &table.nodes[node.index()];
            let local = here.local(&name);
            let column = catalogue.columns.iter().find(|column| same_name(&column.name, local))?;
            (!here.omits(&name)).then(|| (*node, column.clone()))
        });
        let columns: Vec<(NodeId, CatalogueColumn)> = found.collect();
        let ty = shared(config, &columns.iter().collect::<Vec<_>>());
        let is_lossy = table.lossy.iter().any(|named| same_name(&named.name, &name));
        let grain = Grain::common(columns.iter().map(|(_, column)| &column.domain)).filter(|_| is_lossy);
        Spread { name, ty, grain, columns }
    }

    /// From each node whose rows go anywhere to each that takes them; of a table that goes one way from `only`.
    fn fits(&self, config: &Config, only: Option<NodeId>) -> Vec<Fit> {
        let name = |node: &NodeId| config.nodes[node.index()].name.clone();
        // Each two may share a type, and all together none.
        let some_fail = self.ty.is_err() && self.pairs(only).any(|pair| shared(config, &pair).is_err());
        let mut fits = Vec::new();
        for source in self.columns.iter().filter(|(from, _)| only.is_none_or(|only| only == *from)) {
            for target in self.columns.iter().filter(|(to, _)| *to != source.0 && only != Some(*to)) {
                let (fit, why) = match self.between(config, source, target, some_fail) {
                    Ok(ty) => self.fare(&source.1, &target.1, &ty),
                    Err(why) => ("refused", Some(why)),
                };
                fits.push(Fit { column: self.name.clone(), from: name(&source.0), to: name(&target.0), fit, why });
            }
        }
        fits
    }

    /// Each two nodes between which rows go.
    fn pairs(&self, only: Option<NodeId>) -> impl Iterator<Item = [&(NodeId, CatalogueColumn); 2]> {
        let columns = self.columns.iter().enumerate();
        let pairs = columns.flat_map(|(at, one)| self.columns[..at].iter().map(move |other| [other, one]));
        pairs.filter(move |pair| only.is_none_or(|only| pair.iter().any(|(node, _)| *node == only)))
    }

    /// The type in which values go between two nodes, or why none do. `some_fail` if some of those between which rows go share none
    /// by themselves.
    fn between(
        &self,
        config: &Config,
        one: &(NodeId, CatalogueColumn),
        other: &(NodeId, CatalogueColumn),
        some_fail: bool,
    ) -> Result<Type, String> {
        let Err(why) = &self.ty else { return self.ty.clone() };
        let mut two = [one, other];
        two.sort_by_key(|(node, _)| *node);
        let ty = shared(config, &two)?;
        if some_fail { Ok(ty) } else { Err(why.clone()) }
    }

    /// What becomes of values that go from one node to another.
    fn fare(&self, source: &CatalogueColumn, target: &CatalogueColumn, ty: &Type) -> (&'static str, Option<String>) {
        // Values come to what all keep wherever they are carried.
        let is_cut = |(_, other): &(NodeId, CatalogueColumn)| {
            source.domain.misfits(&other.domain).iter().any(|beyond| beyond.can_be_cut)
        };
        let grain = self.grain.filter(|_| self.columns.iter().any(is_cut));
        let mut waiting = misfits(&source.domain, &target.domain, ty);
        waiting.retain(|beyond| !beyond.can_be_cut || self.grain.is_none());
        waiting.extend(grain.and_then(|grain| grain.rounds_beyond(&source.domain, &target.domain)));
        let beyond = waiting.into_iter().map(|beyond| beyond.values);
        let lacks = lacks(source, target, ty).into_iter().map(|lack| lack.to_string());
        let waiting = beyond.chain(lacks).collect::<Vec<_>>().join(", ");
        let (fit, why) = match (grain.map(Grain::told), waiting.as_str()) {
            (None, "") => ("exact", None),
            (None, waiting) => ("waits", Some(waiting.to_owned())),
            (Some(grain), "") => ("lossy", Some(grain)),
            (Some(grain), waiting) => ("lossy", Some(format!("{grain}; rows wait with {waiting}"))),
        };
        let alike = target.alike.filter(|_| source.alike != target.alike);
        let both = why.iter().map(String::as_str).chain(alike).collect::<Vec<_>>().join("; ");
        (fit, Some(both).filter(|why| !why.is_empty()))
    }
}

/// The type that the columns of some nodes share, or why they share none.
fn shared(config: &Config, columns: &[&(NodeId, CatalogueColumn)]) -> Result<Type, String> {
    let who =
        |node: &NodeId, column: &CatalogueColumn| format!("`{}` at {}", column.name, config.nodes[node.index()].name);
    if let Some((node, column)) = columns.iter().find(|(_, column)| column.generated) {
        return Err(format!("{} is computed by the database", who(node, column)));
    }
    let told =
        columns.iter().map(|(node, column)| (format!("{} ({})", who(node, column), column.native), &column.domain));
    Type::shared(told.collect::<Vec<_>>())
}

/// Which values of a column another does not hold.
fn misfits(source: &Domain, target: &Domain, ty: &Type) -> Vec<Beyond> {
    match (source, target) {
        // What is of no type that the other nodes read waits at another file of SQLite too.
        (Domain::Loose { affinity, .. }, Domain::Loose { affinity: other, .. }) if *ty != Type::Any => {
            let mut misfits = vec![Beyond::of_another_type()];
            // One may keep numbers as texts, with all digits, and the other as floats.
            if affinity != other && matches!(ty, Type::Decimal | Type::Json) {
                misfits.extend(Domain::of(ty).misfits(target));
            }
            misfits
        }
        _ => {
            let mut misfits = source.misfits(target);
            // What else stands there is unreadable, and waits wherever it would go.
            let besides = if source.poses_as(ty) { unreadable(source, target, ty) } else { Vec::new() };
            misfits.extend(besides.into_iter().filter(|beyond| !misfits.contains(beyond)).collect::<Vec<_>>());
            misfits
        }
    }
}

/// What a column holds that is no value of the type as which it poses.
fn unreadable(source: &Domain, target: &Domain, ty: &Type) -> Vec<Beyond> {
    match (source, target) {
        (_, _) if *ty != Type::Int => source.misfits(&Domain::of(ty)),
        // The target's own bounds are told, which are no wider.
        (_, Domain::Int { .. }) | (Domain::Decimal { limits: Some((..19, _)) }, _) => Vec::new(),
        // A file of SQLite holds no more.
        (_, Domain::Loose { .. }) => source.misfits(&Domain::Int { bits: 64, unsigned: false }),
        _ => vec![Beyond::never("whole numbers beyond 64 bits")],
    }
}

/// What the target has not; what neither has need not be told.
fn lacks(source: &CatalogueColumn, target: &CatalogueColumn, ty: &Type) -> Vec<Lack> {
    let mut own = all_lacks(source, ty);
    match &source.domain {
        Domain::Text { max: Some(max), .. } => own.push(Lack::Letters(*max)),
        // What is rounded as a float of 4 bytes is no round one of 8.
        Domain::Float { bits: 32 } if source.domain != target.domain => {
            own.retain(|lack| !matches!(lack, Lack::Rounded { .. }));
        }
        _ => {}
    }
    if *ty == Type::Uuid {
        own.extend([Lack::OtherBytes(16), Lack::LettersBeyond("ascii".to_owned())]);
    }
    let mut lacks = all_lacks(target, ty);
    lacks.retain(|lack| !own.iter().any(|own| own.implies(lack)));
    lacks
}

/// Which values a column has not. Some of SQLite hold values of types of which their own declaration says nothing.
fn all_lacks(column: &CatalogueColumn, ty: &Type) -> Vec<Lack> {
    let mut lacks = column.lacks.clone();
    let also = match (&column.domain, ty) {
        (Domain::Loose { .. }, Type::Float) => Lack::Nan,
        (Domain::Loose { affinity, .. }, Type::Decimal) if affinity == "NUMERIC" => Lack::Infinite,
        (Domain::Loose { .. }, Type::Date | Type::Timestamp | Type::Instant) => Lack::FarDays,
        _ => return lacks,
    };
    if !lacks.contains(&also) {
        lacks.push(also);
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: (&Domain, &[Lack]), target: (&Domain, &[Lack]), ty: &Type) -> Vec<Lack> {
        let column = |(domain, lacks): (&Domain, &[Lack])| CatalogueColumn {
            name: "v".to_owned(),
            native: String::new(),
            collation: None,
            domain: domain.clone(),
            nullable: true,
            generated: false,
            lacks: lacks.to_vec(),
            alike: None,
        };
        lacks(&column(source), &column(target), ty)
    }

    #[test]
    fn what_only_the_target_has_not_is_told() {
        let float = &Domain::Float { bits: 64 };
        let (plain, unsigned) = (&[Lack::Infinite][..], &[Lack::Infinite, Lack::Negative][..]);
        assert_eq!(told((float, plain), (float, unsigned), &Type::Float), [Lack::Negative]);
        assert_eq!(told((float, unsigned), (float, plain), &Type::Float), []);
        let rounded = &[Lack::Rounded { before: 5, after: 2 }][..];
        let single = &Domain::Float { bits: 32 };
        assert_eq!(told((single, rounded), (float, rounded), &Type::Float), rounded);
        assert_eq!(told((float, rounded), (single, rounded), &Type::Float), []);
    }

    /// Beside a node that reads one type, what is of another waits at every file.
    #[test]
    fn what_one_file_of_sqlite_holds_and_another_does_not_take() {
        let loose = |affinity: &str| Domain::Loose { affinity: affinity.to_owned(), accepts: Vec::new() };
        let (text, none, numeric) = (loose("TEXT"), loose("BLOB"), loose("NUMERIC"));
        let other = [Beyond::of_another_type()];
        for ty in [Type::Int, Type::Date, Type::Text, Type::Decimal, Type::Json] {
            for column in [&text, &none, &numeric] {
                assert_eq!(misfits(column, column, &ty), other, "{ty}");
                assert_eq!(misfits(column, column, &Type::Any), []);
            }
        }
        for source in [&text, &none] {
            for (ty, says) in [(Type::Decimal, "numbers of more than 15"), (Type::Json, "documents that are but")] {
                let told = misfits(source, &numeric, &ty);
                assert_eq!((told.len(), &told[0]), (2, &other[0]), "{told:?}");
                assert!(told[1].values.starts_with(says), "{told:?}");
            }
        }
        assert_eq!(misfits(&text, &none, &Type::Decimal), other);
        assert_eq!(misfits(&numeric, &text, &Type::Decimal), other);
        assert_eq!(misfits(&text, &numeric, &Type::Any), []);
    }

    /// What stands in a column that poses as a uuid or an integer and is none waits everywhere, also at a column like its own.
    #[test]
    fn what_only_poses_as_a_type_is_told_where_it_is_none() {
        let says = |source: &Domain, target: &Domain, ty: &Type| -> Vec<String> {
            misfits(source, target, ty).into_iter().map(|beyond| beyond.values).collect()
        };
        let loose = Domain::Loose { affinity: "TEXT".to_owned(), accepts: Vec::new() };
        let letters = Domain::Text { max: Some(36), padded: true, nul: true };
        for target in [&letters, &loose, &Domain::Uuid] {
            assert_eq!(says(&letters, target, &Type::Uuid), ["texts that are no uuid in small letters"], "{target:?}");
            assert_eq!(says(&letters, &letters, &Type::Text), [""; 0]);
        }
        assert_eq!(says(&Domain::Bytes, &Domain::Bytes, &Type::Uuid), ["values of more or fewer than 16 bytes"]);
        let (large, small) = (Domain::Decimal { limits: Some((20, 0)) }, Domain::Decimal { limits: Some((18, 0)) });
        assert_eq!(says(&large, &large, &Type::Int), ["whole numbers beyond 64 bits"]);
        assert_eq!(says(&large, &large, &Type::Decimal), [""; 0]);
        assert_eq!(says(&large, &loose, &Type::Int), ["numbers outside -9223372036854775808 to 9223372036854775807"]);
        assert_eq!(says(&large, &Domain::Int { bits: 64, unsigned: true }, &Type::Int).len(), 1);
        assert_eq!(says(&small, &small, &Type::Int), [""; 0]);
    }

    /// What the type of the values or the length of the source leaves no room for.
    #[test]
    fn what_no_value_can_be_is_not_told() {
        let bytes = |most: u64| [Lack::Bytes { most, charset: Some("latin1".to_owned()) }];
        let (spelled, text) = (&Domain::Text { max: Some(36), padded: true, nul: true }, &Domain::of(&Type::Text));
        let letters = &[Lack::LongLetters, Lack::LettersBeyond("latin1".to_owned())][..];
        assert_eq!(told((&Domain::Uuid, &[]), (spelled, letters), &Type::Uuid), []);
        assert_eq!(told((text, &[]), (spelled, letters), &Type::Text), letters);
        assert_eq!(told((&Domain::Uuid, &[]), (&Domain::Bytes, &[Lack::OtherBytes(16)]), &Type::Uuid), []);
        assert_eq!(told((&Domain::Uuid, &[]), (&Domain::Bytes, &bytes(8)), &Type::Uuid), bytes(8));
        assert_eq!(told((spelled, &[]), (text, &bytes(255)), &Type::Text), []);
        assert_eq!(told((spelled, &[]), (text, &bytes(100)), &Type::Text), bytes(100));
    }

    /// What a column of SQLite has not, also where nothing in its declaration says what it holds.
    #[test]
    fn loose_columns_have_not_all_of_every_type() {
        let loose = &Domain::Loose { affinity: "BLOB".to_owned(), accepts: Vec::new() };
        let [instant, timestamp, date, float, text] =
            [Type::Instant, Type::Timestamp, Type::Date, Type::Float, Type::Text].map(|ty| (Domain::of(&ty), ty));
        assert_eq!(told((&instant.0, &[]), (loose, &[]), &instant.1), [Lack::FarDays]);
        assert_eq!(told((&timestamp.0, &[Lack::FarTimes]), (loose, &[]), &timestamp.1), []);
        assert_eq!(told((&date.0, &[]), (loose, &[]), &date.1), [Lack::FarDays]);
        assert_eq!(told((&date.0, &[Lack::FarDays]), (loose, &[]), &date.1), []);
        assert_eq!(told((&float.0, &[]), (loose, &[Lack::Nan]), &float.1), [Lack::Nan]);
        assert_eq!(told((&float.0, &[]), (loose, &[]), &float.1), [Lack::Nan]);
        assert_eq!(told((&float.0, &[Lack::Infinite]), (loose, &[]), &float.1), []);
        assert_eq!(told((&text.0, &[]), (loose, &[]), &text.1), []);
        assert_eq!(told((loose, &[]), (loose, &[]), &float.1), []);
        let money = &Domain::Decimal { limits: Some((12, 2)) };
        let numeric = &Domain::Loose { affinity: "NUMERIC".to_owned(), accepts: Vec::new() };
        assert_eq!(told((money, &[]), (numeric, &[]), &Type::Decimal), [Lack::Infinite]);
        assert_eq!(told((money, &[Lack::Infinite]), (numeric, &[]), &Type::Decimal), []);
        assert_eq!(told((money, &[]), (loose, &[]), &Type::Decimal), []);
    }
}

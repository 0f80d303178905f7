//! How the values of each column fare between the nodes, as `check` tells it before anything is carried.

use serde::Serialize;

use super::shape::same_name;
use super::table::Table;
use crate::config::Config;
use crate::model::{Beyond, Domain, Grain, Lack, NodeId, Type};
use crate::node::{Catalogue, CatalogueColumn};

/// How a column's values fare from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    pub column: String,
    pub from: String,
    pub to: String,
    /// `exact`: each arrives as it is. `waits`: rows with some values wait. `lossy`: values are rounded or cut, as the file allows.
    pub fit: &'static str,
    /// Which values, or what becomes of them; with `exact` what becomes of some where it counts as the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Table {
    /// All columns, from each node whose rows go anywhere to each that takes them. What becomes of values in a mapping only the
    /// plugin knows, but for those that it passes on as they are.
    pub(super) fn fits(&self, config: &Config, catalogues: &[(NodeId, Catalogue)]) -> Vec<Fit> {
        let mut fits = Vec::new();
        for column in &self.columns {
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
            let columns: Vec<(NodeId, CatalogueColumn)> = catalogues.iter().filter_map(found).collect();
            for (from, source) in columns.iter().filter(|(from, _)| self.gives_rows(*from)) {
                // Values come to what all keep wherever they are carried.
                let is_cut = |(_, other): &(NodeId, CatalogueColumn)| {
                    source.domain.misfits(&other.domain).iter().any(|beyond| beyond.can_be_cut)
                };
                let grain = column.grain.filter(|_| columns.iter().any(is_cut));
                for (to, target) in columns.iter().filter(|(to, _)| to != from && self.takes_rows(*to)) {
                    let name = |node: &NodeId| config.nodes[node.index()].name.clone();
                    let mut waiting = misfits(&source.domain, &target.domain, &column.ty);
                    waiting.retain(|beyond| !beyond.can_be_cut || column.grain.is_none());
                    waiting.extend(grain.and_then(|grain| grain.rounds_beyond(&source.domain, &target.domain)));
                    let beyond = waiting.into_iter().map(|beyond| beyond.values);
                    let lacks = lacks(source, target, &column.ty).into_iter().map(|lack| lack.to_string());
                    let waiting = beyond.chain(lacks).collect::<Vec<_>>().join(", ");
                    let (fit, why) = match (grain.map(Grain::told), waiting.as_str()) {
                        (None, "") => ("exact", None),
                        (None, waiting) => ("waits", Some(waiting.to_owned())),
                        (Some(grain), "") => ("lossy", Some(grain)),
                        (Some(grain), waiting) => ("lossy", Some(format!("{grain}; rows wait with {waiting}"))),
                    };
                    let alike = target.alike.filter(|_| source.alike != target.alike);
                    let both = why.iter().map(String::as_str).chain(alike).collect::<Vec<_>>().join("; ");
                    let why = Some(both).filter(|why| !why.is_empty());
                    fits.push(Fit { column: column.name.clone(), from: name(from), to: name(to), fit, why });
                }
            }
        }
        fits
    }
}

/// Which values of a column another does not hold. Of two of SQLite one may keep decimals as texts, with all digits, and the other as floats.
fn misfits(source: &Domain, target: &Domain, ty: &Type) -> Vec<Beyond> {
    match (source, target) {
        (Domain::Loose { affinity, .. }, Domain::Loose { .. }) if *ty == Type::Decimal && affinity != "NUMERIC" => {
            Domain::of(ty).misfits(target)
        }
        _ => source.misfits(target),
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
        (Domain::Loose { .. }, Type::Timestamp | Type::Instant) => Lack::FarDays,
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

    #[test]
    fn decimals_that_are_texts_in_one_file_of_sqlite_and_floats_in_another() {
        let loose = |affinity: &str| Domain::Loose { affinity: affinity.to_owned(), accepts: Vec::new() };
        let (text, none, numeric) = (loose("TEXT"), loose("BLOB"), loose("NUMERIC"));
        for source in [&text, &none] {
            let told = misfits(source, &numeric, &Type::Decimal);
            assert!(matches!(&told[..], [one] if one.values.starts_with("numbers of more than 15 digits")), "{told:?}");
        }
        assert_eq!(misfits(&text, &none, &Type::Decimal), []);
        assert_eq!(misfits(&numeric, &text, &Type::Decimal), []);
        assert_eq!(misfits(&numeric, &numeric, &Type::Decimal), []);
        assert_eq!(misfits(&text, &numeric, &Type::Any), []);
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
        let [instant, timestamp, float, text] =
            [Type::Instant, Type::Timestamp, Type::Float, Type::Text].map(|ty| (Domain::of(&ty), ty));
        assert_eq!(told((&instant.0, &[]), (loose, &[]), &instant.1), [Lack::FarDays]);
        assert_eq!(told((&timestamp.0, &[Lack::FarTimes]), (loose, &[]), &timestamp.1), []);
        assert_eq!(told((&float.0, &[]), (loose, &[Lack::Nan]), &float.1), [Lack::Nan]);
        assert_eq!(told((&float.0, &[]), (loose, &[]), &float.1), [Lack::Nan]);
        assert_eq!(told((&float.0, &[Lack::Infinite]), (loose, &[]), &float.1), []);
        assert_eq!(told((&text.0, &[]), (loose, &[]), &text.1), []);
        assert_eq!(told((loose, &[]), (loose, &[]), &float.1), []);
    }
}

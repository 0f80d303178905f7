//! The table of cases in `cases.txt`, whose head says how it is written.

use concord_tests::{Kind, mariadb};

/// The order of the columns.
pub const KINDS: [Kind; 3] = [Kind::Postgres, Kind::Mariadb, Kind::Sqlite];

/// A class of values.
#[derive(Debug)]
pub struct Class {
    pub name: String,
    types: [String; 3],
    shown: [String; 3],
    /// Between which kinds the column is refused, and a part of the reason.
    refused: Vec<(Kind, Kind, String)>,
    pub values: Vec<Case>,
}

/// One value.
#[derive(Debug)]
pub struct Case([Cell; 3]);

/// A value in one kind of database.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Nothing is said.
    Untold,
    /// How it is written, if it is, and what is read; whether not even a database of the same kind takes it.
    Held { literal: Option<String>, read: String, stays: bool },
    /// It cannot be held, and waits for a reason of which this is a part.
    Waits(String),
}

impl Class {
    /// How the column is declared, if there is such a type.
    pub fn declared(&self, kind: Kind) -> Option<&str> {
        Some(self.types[place(kind)].as_str()).filter(|ty| *ty != "-")
    }

    /// The expression by which a column `v` is read.
    pub fn shown(&self, kind: Kind) -> &str {
        &self.shown[place(kind)]
    }

    /// A part of the reason for which the column is refused between two kinds.
    pub fn refused(&self, one: Kind, other: Kind) -> Option<&str> {
        let of = |(a, b, _): &&(Kind, Kind, String)| (*a, *b) == (one, other) || (*a, *b) == (other, one);
        self.refused.iter().find(of).map(|(.., why)| why.as_str())
    }
}

impl Case {
    pub fn at(&self, kind: Kind) -> &Cell {
        &self.0[place(kind)]
    }

    /// A part of the reason for which the value waits at a kind of database, if it comes from another.
    pub fn waits(&self, kind: Kind) -> Option<&str> {
        let own = &self.0[place(kind)];
        own.waits()
            .or_else(|| matches!(own, Cell::Held { stays: true, .. }).then(|| self.0.iter().find_map(Cell::waits))?)
    }
}

impl Cell {
    pub fn literal(&self) -> Option<&str> {
        match self {
            Cell::Held { literal, .. } => literal.as_deref(),
            _ => None,
        }
    }

    fn waits(&self) -> Option<&str> {
        if let Cell::Waits(why) = self { Some(why) } else { None }
    }

    pub fn read(&self) -> Option<&str> {
        match self {
            Cell::Held { read, .. } => Some(read),
            _ => None,
        }
    }
}

/// All classes, as the server that the tests share knows them.
pub async fn known() -> Vec<Class> {
    let mut classes = classes();
    if mariadb::is_mysql().await {
        let at = place(Kind::Mariadb);
        for class in &mut classes {
            // Its documents keep no spelling.
            if ["uuid", "inet4", "inet6"].contains(&class.types[at].as_str()) || class.name == "json as it was written"
            {
                "-".clone_into(&mut class.types[at]);
            }
            if class.shown[at] == "json_compact(v)" {
                "replace(replace(v, ': ', ':'), ', ', ',')".clone_into(&mut class.shown[at]);
            }
            for case in &mut class.values {
                // What is both too long and not to be cut there is one of the two.
                if class.name == "tinytext" && matches!(&case.0[at], Cell::Waits(why) if why.contains("string value")) {
                    case.0[at] = Cell::Waits("Data too long".to_owned());
                }
                if class.name == "json with a member twice"
                    && let Some(why) = case.0[place(Kind::Postgres)].waits().map(str::to_owned)
                {
                    case.0[at] = Cell::Waits(why);
                }
            }
            if class.name == "json keeps big numbers" {
                let beyond = |case: &&mut Case| case.0[at].read().is_some_and(|read| read.starts_with("0."));
                for case in class.values.iter_mut().filter(beyond) {
                    case.0[at] = Cell::Waits("exact as a float".to_owned());
                }
            }
        }
    }
    classes
}

/// All classes.
fn classes() -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for (number, line) in include_str!("cases.txt").lines().enumerate() {
        let wrong = || -> ! { panic!("cases.txt:{}: cannot be read: {line}", number + 1) };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            classes.push(Class {
                name: name.to_owned(),
                types: Default::default(),
                shown: ["v"; 3].map(str::to_owned),
                refused: Vec::new(),
                values: Vec::new(),
            });
            continue;
        }
        let (Some(class), Some((word, rest))) = (classes.last_mut(), line.split_once(' ')) else { wrong() };
        let rest = rest.trim_start();
        match word {
            "type" => class.types = cells(rest).unwrap_or_else(|| wrong()),
            "shown" => class.shown = cells(rest).unwrap_or_else(|| wrong()),
            "refuse" => {
                let mut words = rest.splitn(3, ' ');
                let mut kind = || words.next().and_then(named).unwrap_or_else(|| wrong());
                let (one, other) = (kind(), kind());
                class.refused.push((one, other, words.next().unwrap_or_else(|| wrong()).to_owned()));
            }
            "value" => class.values.push(Case(cells(rest).unwrap_or_else(|| wrong()).map(|text| cell(&text)))),
            _ => wrong(),
        }
    }
    classes
}

fn cells(line: &str) -> Option<[String; 3]> {
    let cells: Vec<String> = line.split(" | ").map(|cell| cell.trim_start().to_owned()).collect();
    match cells.as_slice() {
        [all] => Some([all.clone(), all.clone(), all.clone()]),
        _ => cells.try_into().ok(),
    }
}

/// Blanks at the end of what is read count; those around the arrow do not.
fn cell(text: &str) -> Cell {
    if text.trim_end() == "-" {
        return Cell::Untold;
    }
    if let Some(why) = text.strip_prefix("waits") {
        return Cell::Waits(why.trim().to_owned());
    }
    let (text, stays) = text.strip_prefix("stays ").map_or((text, false), |text| (text, true));
    let (literal, read) = match text.split_once(" ->") {
        Some((literal, read)) => (literal, read.strip_prefix(' ').unwrap_or(read)),
        None => (text.trim_end(), text.trim_end()),
    };
    Cell::Held { literal: Some(literal.to_owned()).filter(|literal| literal != "-"), read: read.to_owned(), stays }
}

fn place(kind: Kind) -> usize {
    KINDS.iter().position(|known| *known == kind).expect("every kind has a column")
}

fn named(word: &str) -> Option<Kind> {
    Some(match word {
        "postgres" => Kind::Postgres,
        "mariadb" => Kind::Mariadb,
        "sqlite" => Kind::Sqlite,
        _ => return None,
    })
}

#[test]
fn there_are_classes_for_every_pair() {
    let classes = classes();
    for (at, class) in classes.iter().enumerate() {
        assert!(classes[..at].iter().all(|other| other.name != class.name), "`{}` stands twice", class.name);
        assert!(!class.values.is_empty() || !class.refused.is_empty(), "`{}` says nothing", class.name);
    }
    for (from, to) in KINDS.iter().flat_map(|from| KINDS.map(|to| (*from, to))) {
        let told = classes.iter().filter(|class| {
            let is_known = [from, to].iter().all(|kind| class.declared(*kind).is_some());
            let travels = class.values.iter().any(|case| case.at(from).literal().is_some());
            is_known && (travels || class.refused(from, to).is_some())
        });
        let count = told.count();
        assert!(count >= 70, "{count} from {from:?} to {to:?}");
    }
}

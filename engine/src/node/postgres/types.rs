//! What a column of each type can hold. How values travel is in [`wire`](super::wire).

use std::collections::HashMap;

use crate::model::Domain;

/// A column's type, domains resolved to what they are made of.
#[derive(Clone, Debug, Default)]
pub struct NativeType {
    /// The type's schema and name in the catalogue.
    pub schema: String,
    pub name: String,
    /// `typtype` and `typcategory`: `b`ase, `e`num, `c`omposite, `r`ange, `m`ultirange; `A` for arrays.
    pub kind: char,
    pub category: char,
    /// Length, precision or scale as the type encodes it, or -1.
    pub modifier: i32,
    /// As SQL writes it, with the schema where it is not a built-in type: with the modifier, and without.
    pub full: String,
    pub plain: String,
    /// The quoted schema with a dot, as the two above begin where they name one.
    pub prefix: String,
    /// Schema and name of the element of an array.
    pub element: Option<(String, String)>,
}

/// Types whose text form depends on a setting, names objects by what they are called at the moment, or counts storage.
const NO_TEXT: &[&str] = &[
    "money",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regclass",
    "regcollation",
    "regtype",
    "regrole",
    "regnamespace",
    "regconfig",
    "regdictionary",
    "tid",
    "cid",
    "xid",
    "aclitem",
    "refcursor",
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "gtsvector",
];

impl NativeType {
    /// What the column holds, and the type in the database's words: without length where values are cast to it, since
    /// a cast to a length cuts silently and an assignment does not.
    pub fn describe(&self) -> (Domain, String) {
        let domain = self.domain();
        let native = if matches!(domain, Domain::Native(_)) { &self.plain } else { &self.full };
        (domain, native.clone())
    }

    fn domain(&self) -> Domain {
        if let Some(why) = unsupported(&self.schema, &self.name, "") {
            return Domain::Unsupported(why);
        }
        if let Some((schema, name)) = &self.element
            && let Some(why) = unsupported(schema, name, "elements of ")
        {
            return Domain::Unsupported(why);
        }
        let native = || Domain::Native(self.full.strip_prefix(&self.prefix).unwrap_or(&self.full).to_owned());
        if self.kind == 'p' {
            return Domain::Unsupported(format!("the pseudo-type {} holds no values of its own", self.name));
        }
        if self.schema != "pg_catalog" || self.kind != 'b' || self.category == 'A' {
            return native();
        }
        let length = u32::try_from(self.modifier - 4).ok();
        // A negative modifier means the full six digits.
        let digits = u8::try_from(self.modifier).map_or(6, |digits| digits.min(6));
        match self.name.as_str() {
            "bool" => Domain::Bool { numbers: false },
            "int2" => Domain::Int { bits: 16, unsigned: false },
            "int4" => Domain::Int { bits: 32, unsigned: false },
            "int8" => Domain::Int { bits: 64, unsigned: false },
            "oid" => Domain::Int { bits: 32, unsigned: true },
            "float4" => Domain::Float { bits: 32 },
            "float8" => Domain::Float { bits: 64 },
            "numeric" => numeric(self.modifier),
            "text" => Domain::Text { max: None, padded: false, nul: false },
            "varchar" => Domain::Text { max: length, padded: false, nul: false },
            "bpchar" => Domain::Text { max: length, padded: true, nul: false },
            "bytea" => Domain::Bytes,
            "date" => Domain::Date { zeros: false },
            "time" => Domain::Time { digits, spans: false },
            "timestamp" => Domain::Timestamp { digits, zeros: false },
            "timestamptz" => Domain::Instant { digits, zeros: false },
            "json" => Domain::Json { nul: true, binary: false },
            "jsonb" => Domain::Json { nul: false, binary: false },
            "uuid" => Domain::Uuid,
            _ => native(),
        }
    }
}

/// What stands between the name of a type and what it is made of. No name has it but a quoted one.
pub const MADE_OF: &str = " = (";

/// A part of a type: of a composite type or a range that somebody made, a domain, or an array.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What it is a part of: `d`omain, `A`rray, `c`omposite, `r`ange or `m`ultirange.
    pub of: char,
    /// Of an attribute of a composite type, quoted.
    pub name: Option<String>,
    /// The part's own type, as in [`NativeType`].
    pub oid: i64,
    pub full: String,
    pub prefix: String,
}

/// What types are made of, by their oid.
#[derive(Debug, Default)]
pub struct Pieces(pub HashMap<i64, Vec<Piece>>);

impl Pieces {
    /// A type with what it is made of, which its name does not tell: where that is another elsewhere, a value would be rounded or
    /// cut there.
    pub fn spell(&self, oid: i64, full: &str) -> String {
        match self.made_of(oid) {
            Some(parts) => format!("{full}{MADE_OF}{parts})"),
            None => full.to_owned(),
        }
    }

    fn made_of(&self, oid: i64) -> Option<String> {
        let pieces = self.0.get(&oid)?;
        let first = pieces.first()?;
        match first.of {
            'A' if self.base(first.oid).is_none() => self.made_of(first.oid),
            'm' => self.made_of(first.oid),
            _ => {
                let parts = pieces.iter().map(|piece| match &piece.name {
                    Some(name) => format!("{name} {}", self.part(piece)),
                    None => self.part(piece),
                });
                Some(parts.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What a domain is over.
    fn base(&self, oid: i64) -> Option<&Piece> {
        self.0.get(&oid).and_then(|pieces| pieces.first()).filter(|piece| piece.of == 'd')
    }

    fn part(&self, piece: &Piece) -> String {
        match self.base(piece.oid) {
            Some(base) => self.part(base),
            None => self.spell(piece.oid, piece.full.strip_prefix(&piece.prefix).unwrap_or(&piece.full)),
        }
    }
}

fn unsupported(schema: &str, name: &str, of: &str) -> Option<String> {
    match name {
        _ if schema != "pg_catalog" || !NO_TEXT.contains(&name) => None,
        "money" => Some(format!(
            "{of}type money means another amount under another locale; use numeric(12,2), or leave the column out with `omit`"
        )),
        _ => Some(format!("{of}type {name} mean nothing in another database; leave the column out with `omit`")),
    }
}

/// The modifier holds the precision in the upper and the scale in the lower half; since version 15 the scale has a sign.
fn numeric(modifier: i32) -> Domain {
    let Ok(packed) = u32::try_from(modifier - 4) else { return Domain::Decimal { limits: None } };
    let (precision, scale) = (packed >> 16 & 0xFFFF, packed & 0x7FF);
    let scale = (scale ^ 0x400) as i32 - 0x400;
    match u32::try_from(scale) {
        Ok(scale) if scale <= precision => Domain::Decimal { limits: Some((precision, scale)) },
        _ => Domain::Unsupported(format!(
            "numeric({precision},{scale}) rounds outside its own digits; use a scale between 0 and the precision"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(name: &str, modifier: i32, full: &str) -> NativeType {
        NativeType {
            schema: "pg_catalog".into(),
            name: name.into(),
            kind: 'b',
            category: 'S',
            modifier,
            full: full.into(),
            plain: full.split('(').next().unwrap().into(),
            prefix: "pg_catalog.".into(),
            element: None,
        }
    }

    #[test]
    fn modifiers_become_limits() {
        let numeric = builtin("numeric", (12 << 16 | 2) + 4, "numeric(12,2)");
        assert_eq!(numeric.domain(), Domain::Decimal { limits: Some((12, 2)) });
        assert_eq!(builtin("numeric", -1, "numeric").domain(), Domain::Decimal { limits: None });
        let rounding = builtin("numeric", (3 << 16 | (-2i32 & 0x7FF)) + 4, "numeric(3,-2)");
        assert!(matches!(rounding.domain(), Domain::Unsupported(why) if why.contains("numeric(3,-2)")));
        assert_eq!(
            builtin("varchar", 24, "character varying(20)").domain(),
            Domain::Text { max: Some(20), padded: false, nul: false }
        );
        assert_eq!(
            builtin("varchar", -1, "character varying").domain(),
            Domain::Text { max: None, padded: false, nul: false }
        );
        assert_eq!(builtin("timestamptz", 3, "").domain(), Domain::Instant { digits: 3, zeros: false });
        assert_eq!(builtin("time", -1, "").domain(), Domain::Time { digits: 6, spans: false });
    }

    #[test]
    fn a_type_is_told_with_what_it_is_made_of() {
        let piece = |of: char, name: Option<&str>, oid: i64, full: &str| Piece {
            of,
            name: name.map(str::to_owned),
            oid,
            full: full.to_owned(),
            prefix: "own.".to_owned(),
        };
        let pieces = Pieces(HashMap::from([
            (1, vec![piece('c', Some("lat"), 2, "own.amount"), piece('c', Some("\"A b\""), 3, "own.span")]),
            (2, vec![piece('d', None, 1700, "numeric(6,2)")]),
            (3, vec![piece('r', None, 700, "real")]),
            (4, vec![piece('A', None, 1, "own.pos")]),
            (5, vec![piece('A', None, 2, "own.amount")]),
            (6, vec![piece('m', None, 3, "own.span")]),
            (1231, vec![piece('A', None, 1700, "numeric")]),
        ]));
        for (oid, name, whole) in [
            (1, "pos", "pos = (lat numeric(6,2), \"A b\" span = (real))"),
            (3, "span", "span = (real)"),
            (4, "pos[]", "pos[] = (lat numeric(6,2), \"A b\" span = (real))"),
            (5, "amount[]", "amount[] = (numeric(6,2))"),
            (6, "spans", "spans = (real)"),
            (1231, "numeric(5,1)[]", "numeric(5,1)[]"),
            (25, "text", "text"),
        ] {
            assert_eq!(pieces.spell(oid, name), whole);
        }
    }

    #[test]
    fn the_rest_travels_as_its_own_text_or_not_at_all() {
        let (domain, native) = builtin("bit", 3, "bit(3)").describe();
        assert_eq!((domain, native.as_str()), (Domain::Native("bit(3)".into()), "bit"));
        let mood = NativeType {
            schema: "public".into(),
            name: "mood".into(),
            kind: 'e',
            full: "public.mood".into(),
            plain: "public.mood".into(),
            prefix: "public.".into(),
            ..NativeType::default()
        };
        assert_eq!(mood.describe(), (Domain::Native("mood".into()), "public.mood".into()));
        assert!(matches!(builtin("money", -1, "money").domain(), Domain::Unsupported(_)));
        let array = NativeType {
            category: 'A',
            element: Some(("pg_catalog".into(), "regclass".into())),
            ..builtin("_regclass", -1, "regclass[]")
        };
        assert!(matches!(array.domain(), Domain::Unsupported(_)));
    }
}

use std::sync::Arc;

use super::*;

#[test]
fn types_that_the_other_server_has_not() {
    let part = |native: &str, domain: &Domain| {
        let (ty, size) = shape_of(domain);
        Part { size, ..Part::bare(KIND, native, ty) }
    };
    let document = part("longtext", &Domain::Json { nul: true, binary: false });
    let (id, address) = (part("uuid", &Domain::Uuid), part("inet6", &Domain::Native("inet6".to_owned())));
    let kept = |part: &Part, maria| native_type(part, maria).unwrap_or_default();
    assert_eq!([&document, &id, &address].map(|part| kept(part, true)), ["json", "uuid", "inet6"]);
    assert_eq!([&document, &id, &address].map(|part| kept(part, false)), ["json", "", ""]);
}

#[test]
fn defaults_as_each_server_tells_them() {
    let text = |text: &str| Some(Preset::Text(text.to_owned()));
    let number = |text: &str| Some(Preset::Number(text.to_owned()));
    for (told, preset) in [
        ("'it''s'", text("it's")),
        ("current_timestamp(6)", Some(Preset::Now)),
        (r"_utf8mb4\'none\'", text("none")),
        (r"_utf8mb4\'it\\\'s\'", None),
        (r"concat(_utf8mb4\'a\',_utf8mb4\'b\')", None),
        ("current_timestamp()", Some(Preset::Now)),
        ("CURRENT_TIMESTAMP", Some(Preset::Now)),
        ("current_timestamp() + interval 1 day", None),
        ("current_timestamp(6) - interval (1) day", None),
        ("uuid()", None),
    ] {
        assert_eq!(expression(told), preset, "{told}");
    }
    let words = Domain::Text { max: Some(40), padded: false, nul: true };
    let whole = Domain::Int { bits: 32, unsigned: false };
    for (told, domain, preset) in [
        ("nobody's", &words, text("nobody's")),
        ("NULL", &words, text("NULL")),
        ("3", &words, text("3")),
        ("3", &whole, number("3")),
        ("0x6162", &Domain::Bytes, None),
    ] {
        assert_eq!(value(told, domain), preset, "{told}");
    }
}

fn part(name: &str, ty: Type) -> Part {
    Part { name: name.to_owned(), nullable: false, ..Part::bare("postgres", "", ty) }
}

#[test]
fn times_that_no_server_fills_in() {
    let columns = vec![
        part("id", Type::Int),
        part("made", Type::Instant),
        Part { default: Some(Preset::Now), ..part("seen", Type::Instant) },
        Part { nullable: true, ..part("gone", Type::Instant) },
    ];
    let blueprint = Blueprint { table: "t".to_owned(), columns, key: vec!["id".to_owned()], ..Blueprint::default() };
    let draft = draft(&blueprint, true, &HashSet::new());
    for line in [
        "`made` timestamp(6) NOT NULL DEFAULT '2000-01-01 00:00:00',",
        "`seen` timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),",
        "`gone` timestamp(6) NULL,",
    ] {
        assert!(draft.statements[0].contains(line), "{line}: {draft:?}");
    }
    assert_eq!(draft.statements[1..], ["ALTER TABLE `t` ALTER COLUMN `made` DROP DEFAULT".to_owned()]);
}

/// A column of texts of another server of this kind.
fn words(name: &str, native: &str, collation: &str) -> Part {
    Part {
        collation: Some(collation.to_owned()),
        name: name.to_owned(),
        nullable: false,
        ..Part::bare(KIND, native, Type::Text)
    }
}

#[test]
fn texts_are_compared_as_where_they_come_from() {
    let columns = vec![
        words("id", "varchar(20)", "utf8mb4_unicode_ci"),
        words("words", "mediumtext", "latin1_swedish_ci"),
        words("mood", "enum('a')", "utf8mb3_bin"),
        words("newer", "text", "utf8mb4_0900_ai_ci"),
        words("alike", "text", "utf8mb4_0900_bin"),
        part("other", Type::Text),
    ];
    let collation = Some("utf8mb4_unicode_ci".to_owned());
    let key = vec!["id".to_owned()];
    let blueprint = Blueprint { table: "t".to_owned(), columns, key, collation, ..Blueprint::default() };
    let known = ["utf8mb4_unicode_ci", "latin1_swedish_ci", "utf8_bin"].map(str::to_owned);
    let draft = draft(&blueprint, true, &known.into());
    for line in [
        "`id` varchar(20) NOT NULL,",
        "`words` mediumtext COLLATE latin1_swedish_ci NOT NULL,",
        "`mood` enum('a') COLLATE utf8_bin NOT NULL,",
        "`newer` text COLLATE utf8mb4_nopad_bin NOT NULL,",
        "`alike` text COLLATE utf8mb4_nopad_bin NOT NULL,",
        "`other` longtext COLLATE utf8mb4_nopad_bin NOT NULL,",
        ") ENGINE = InnoDB DEFAULT COLLATE utf8mb4_unicode_ci",
    ] {
        assert!(draft.statements[0].contains(line), "{line}: {draft:?}");
    }
    let lost =
        "the collation utf8mb4_0900_ai_ci of column newer, which the server does not know (utf8mb4_nopad_bin there)";
    assert_eq!(draft.notes, [lost]);
}

/// What such a server has room for has this one.
#[test]
fn letters_of_fewer_bytes_leave_room_for_more() {
    let drafted = |collation: &str, length: u32| {
        let columns = ["a", "b"].map(|name| words(name, &format!("varchar({length})"), collation)).to_vec();
        let part = IndexPart {
            name: "both".to_owned(),
            of_table: true,
            unique: false,
            columns: vec!["a".to_owned(), "b".to_owned()],
        };
        let key = vec!["a".to_owned()];
        let blueprint = Blueprint { table: "t".to_owned(), columns, key, indexes: vec![part], ..Blueprint::default() };
        draft(&blueprint, true, &["utf8mb3_general_ci", "utf8mb4_unicode_ci", "latin1_bin"].map(str::to_owned).into())
    };
    for (collation, length) in [("latin1_bin", 1_536), ("utf8mb3_general_ci", 512), ("utf8mb4_unicode_ci", 384)] {
        let fits = drafted(collation, length);
        assert!(fits.notes.is_empty() && fits.statements[0].contains("KEY `both`"), "{fits:?}");
        assert_eq!(drafted(collation, length + 1).notes, ["index both, which would be longer than 3072 bytes"]);
    }
    let cut = drafted("latin1_bin", 4_000);
    assert!(cut.statements[0].contains("`a` varchar(3072) COLLATE latin1_bin"), "{cut:?}");
    assert!(cut.notes[0].starts_with("column a holds at most 3072 characters here"), "{cut:?}");
}

/// The server would refuse the table after others were made.
#[test]
fn a_column_refers_to_none_of_another_collation() {
    let refer = |columns: &[&str], to: Blueprint| ReferencePart {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        table: to.table.clone(),
        referenced: to.key.clone(),
        to: Some(Arc::new(to)),
        on_delete: "NO ACTION".to_owned(),
        on_update: "NO ACTION".to_owned(),
        ..ReferencePart::default()
    };
    let made = |table: &str, code: &str, collation: &str| {
        let columns = vec![words(code, "varchar(20)", collation), part("no", Type::Int)];
        let key = columns.iter().map(|part| part.name.clone()).collect();
        Blueprint { table: table.to_owned(), columns, key, ..Blueprint::default() }
    };
    let mut shops = made("shops", "code", "utf8mb4_nopad_bin");
    shops.found = "shops".to_owned();
    shops.key.truncate(1);
    let references =
        vec![refer(&["shop"], shops), refer(&["shop", "no"], made("orders", "shop", "utf8mb4_unicode_ci"))];
    let items = Blueprint { references, ..made("items", "shop", "utf8mb4_unicode_ci") };
    let known = ["utf8mb4_nopad_bin", "utf8mb4_unicode_ci"].map(str::to_owned);
    let drafted = draft(&items, true, &known.into());
    assert!(drafted.statements[0].contains("FOREIGN KEY (`shop`, `no`) REFERENCES `orders`"), "{drafted:?}");
    let told = "the reference of shop to shops (code), because varchar(20) COLLATE utf8mb4_unicode_ci cannot refer to varchar(20) \
                COLLATE utf8mb4_nopad_bin there";
    assert_eq!(drafted.notes, [told]);
}

#[test]
fn numbers_are_told_where_none_are_given() {
    let numbered = |name: &str| Part { numbers: true, ..part(name, Type::Int) };
    let drafted = |names: [&str; 2]| {
        let key = names.map(str::to_owned).to_vec();
        let columns = vec![numbered("id"), part("shop", Type::Int)];
        draft(&Blueprint { table: "t".to_owned(), columns, key, ..Blueprint::default() }, true, &HashSet::new())
    };
    let (first, second) = (drafted(["id", "shop"]), drafted(["shop", "id"]));
    assert!(first.statements[0].contains("`id` bigint NOT NULL AUTO_INCREMENT") && first.notes.is_empty());
    assert!(!second.statements[0].contains("AUTO_INCREMENT"));
    assert_eq!(second.notes, ["column id is not numbered by itself"]);
}

#[test]
fn references_of_tables_with_long_names() {
    assert_eq!(constraint(&"a".repeat(57), 1), "");
    let [one, other] = [1, 2].map(|number| constraint(&"ü".repeat(60), number));
    assert!(one.starts_with("CONSTRAINT `ü") && one.ends_with("` ") && one != other, "{one} {other}");
}

#[test]
fn types_that_refer_to_each_other() {
    let same = |one: &str, other: &str| family(one) == family(other);
    assert!(same("bigint(20) unsigned", "bigint unsigned") && same("int", "int(11)"));
    assert!(same("varchar(36)", "char(20)") && same("varbinary(255)", "binary(16)"));
    assert!(!same("bigint", "bigint unsigned") && !same("int", "bigint") && !same("decimal(5,2)", "decimal(6,2)"));
}

#[test]
fn what_a_type_takes_in_a_key() {
    let widths =
        ["varchar(20)", "varbinary(20)", "decimal(65,30)", "bigint unsigned", "char(36)"].map(|ty| width(ty, 4));
    assert_eq!(widths, [80, 20, 30, 16, 144]);
}

#[test]
fn times_that_columns_take() {
    let date = |days| takes(&Type::Date, "date", &Value::Date(days));
    let instant = |micros| takes(&Type::Instant, "timestamp(6)", &Value::Instant(micros));
    assert!(date(-354_285) && !date(-354_286) && !date(i32::MAX));
    assert!(!instant(0) && !instant(i64::MAX) && instant(1_000_000));
}

//! `examples/web-shop` from the bundle's folder to rows that agree: a shop on MariaDB, and its back office on PostgreSQL.

use std::path::Path;
use std::process::Command;

use concord_tests::{As, Concord, Database, Kind, Output, User, guests};

/// What of the bundle is compiled.
const PLUGINS: [&str; 3] = ["cel", "merge-fields", "reshape"];

const OFFICE_CUSTOMERS: &str = "SELECT id, name, email, phone, zip, city, credit_limit FROM customers ORDER BY id";
const SHOP_CUSTOMERS: &str =
    "SELECT id, firstname, lastname, login, phone, place, newsletter, password_hash FROM shop_customers ORDER BY id";
const OFFICE_ORDERS: &str = "SELECT id, customer, status, total, channel FROM orders ORDER BY id";
const SHOP_ORDERS: &str = "SELECT id, customer_id, state, total_cents, coupon FROM shop_orders ORDER BY id";

struct Shop {
    concord: Concord,
    /// Kept, since a database goes with it.
    _databases: [Database; 2],
    office: User,
    shop: User,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => std::fs::copy(entry.path(), to).map(|_| ()).unwrap(),
        }
    }
}

fn put_plugins(folder: &Path) {
    for plugin in PLUGINS {
        let file = format!("{plugin}.wasm");
        std::fs::copy(guests::plugins().join(&file), folder.join(&file)).unwrap();
    }
}

fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

async fn holds(user: &mut User, sql: &str, expected: &[&str]) {
    let rows = user.rows(sql).await;
    let text = |row: Vec<Option<String>>| row.into_iter().map(|cell| cell.unwrap_or("NULL".into())).collect::<Vec<_>>();
    let rows: Vec<String> = rows.into_iter().map(|row| text(row).join("|")).collect();
    assert_eq!(rows, expected, "{sql}");
}

impl Shop {
    /// Both databases as the example's scripts make them, and a folder with what it has to say.
    async fn new() -> Shop {
        let source = guests::root().join("examples/web-shop");
        let read = |file: &str| std::fs::read_to_string(source.join(file)).unwrap();
        let (office, shop) = (Database::new(Kind::Postgres).await, Database::new(Kind::Mariadb).await);
        office.user_as(As::Sync).await.execute(&read("office.sql")).await;
        shop.user_as(As::Sync).await.execute(&read("shop.sql")).await;
        let mut concord = Concord::new(&read("concord.toml"));
        concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
        concord.env("OFFICE_URL", &office.url()).env("SHOP_URL", &shop.url());
        copy(&source.join("bundle"), &concord.path("bundle"));
        put_plugins(&concord.path("bundle/plugins"));
        let (office_user, shop_user) = (office.user().await, shop.user().await);
        Shop { concord, _databases: [office, shop], office: office_user, shop: shop_user }
    }

    async fn run(&self, code: i32, args: &[&str]) -> String {
        ended(&self.concord.run(args).await, code).to_owned()
    }

    /// As the README does it, up to where both hold the same.
    async fn installed() -> Shop {
        let shop = Shop::new().await;
        let checked = shop.run(0, &["bundle", "check", "bundle"]).await;
        assert_eq!(checked.matches(" good").count(), 4, "{checked}");
        shop.run(0, &["bundle", "pack", "bundle"]).await;
        let set = ["--set", "shop=shop", "--set", "office=office"];
        shop.run(0, &[&["bundle", "add", "web-shop-1.0.0.concord"], &set[..]].concat()).await;
        // What the mappings make of the office's rows has a value in every column that takes no NULL.
        let checked = shop.run(0, &["check"]).await;
        assert!(
            checked.contains("tried on")
                && !["may leave NULL", "takes no NULL"].iter().any(|told| checked.contains(told)),
            "{checked}"
        );
        shop.run(0, &["install"]).await;
        shop.run(0, &["load"]).await;
        shop.run(0, &["sync"]).await;
        shop
    }

    async fn agrees(&self) {
        self.run(0, &["sync"]).await;
        self.run(0, &["verify"]).await;
    }
}

#[tokio::test]
async fn a_shop_and_its_office_agree() {
    let mut all = Shop::installed().await;
    let ada = "1|Ada Lovelace|ada@example.org|NULL|10115|Berlin|500.00";
    let mary = "2|Mary Ann Evans|george@example.org|0221 1234|50667|Köln|0.00";
    holds(&mut all.office, OFFICE_CUSTOMERS, &[ada, mary, "3|Bob van Loon|bob@example.org|089 555|80331|München|NULL"])
        .await;
    let ada = "1|Ada|Lovelace|Ada@Example.org||10115 Berlin|Y|$2y$10$abc";
    let bob = "3|Bob|van Loon|bob@example.org|089 555|80331 München|N|$2y$10$def";
    let mary = "2|Mary Ann|Evans|george@example.org|0221 1234|50667 Köln|N|none";
    holds(&mut all.shop, SHOP_CUSTOMERS, &[ada, mary, bob]).await;
    // What was ordered by telephone is nothing of the shop's.
    let orders = ["1|1|shipped|19.90|web", "2|3|paid|5.00|web", "500|2|new|250.00|phone"];
    holds(&mut all.office, OFFICE_ORDERS, &orders).await;
    holds(&mut all.shop, SHOP_ORDERS, &["1|1|2|1990|SPRING", "2|3|1|500|NULL"]).await;

    // WHEN both sides go about their business
    let ordered = "INSERT INTO shop_orders VALUES (3, 2, 0, 4250, '2024-03-03 09:00:00', NULL); UPDATE shop_stock SET quantity = quantity - 2 WHERE article = 'mug'";
    all.shop.execute(ordered).await;
    let office = "INSERT INTO customers VALUES (501, 'Cher', 'cher@example.org', NULL, NULL, NULL, false, NULL);
                  INSERT INTO orders VALUES (501, 501, 'new', 9, '2024-03-03 10:00:00', 'phone'), (502, 501, 'new', 9.5, '2024-03-03 10:00:00', 'web');
                  UPDATE stock SET on_hand = on_hand + 50, price = 10.50 WHERE sku = 'mug'; UPDATE customers SET city = 'Potsdam' WHERE id = 1;
                  UPDATE orders SET channel = 'phone' WHERE id = 2";
    all.office.execute(office).await;
    all.run(0, &["sync"]).await;
    // THEN each has it in its own form
    holds(
        &mut all.shop,
        "SELECT article, quantity, price_cents, shelf FROM shop_stock ORDER BY article",
        &["mug|88|1050|A1", "tea|12|500|B2"],
    )
    .await;
    holds(&mut all.office, "SELECT sku, on_hand, price FROM stock ORDER BY sku", &["mug|88|10.50", "tea|12|5.00"])
        .await;
    holds(&mut all.shop, SHOP_ORDERS, &["1|1|2|1990|SPRING", "3|2|0|4250|NULL", "502|501|0|950|NULL"]).await;
    holds(&mut all.office, "SELECT total FROM orders WHERE id = 3 AND channel = 'web'", &["42.50"]).await;
    let potsdam = "1|Ada|Lovelace|Ada@Example.org||10115 Potsdam|Y|$2y$10$abc";
    holds(&mut all.shop, SHOP_CUSTOMERS, &[potsdam, mary, bob, "501|Cher|NULL|cher@example.org||NULL|N|none"]).await;
    all.agrees().await;
}

#[tokio::test]
async fn conflicts_between_shop_and_office_are_decided() {
    let mut all = Shop::installed().await;
    // The customer's own change is the later one; of the order the office knows how far it is.
    all.office
        .execute(
            "UPDATE customers SET name = 'Ada King' WHERE id = 1; UPDATE orders SET status = 'shipped' WHERE id = 2",
        )
        .await;
    all.shop.execute("UPDATE shop_customers SET phone = '030 1' WHERE id = 1; UPDATE shop_orders SET state = 9, total_cents = 0 WHERE id = 2").await;
    all.office.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'tea'").await;
    all.shop.execute("UPDATE shop_stock SET quantity = quantity - 3 WHERE article = 'tea'").await;
    all.run(0, &["sync"]).await;
    holds(&mut all.office, "SELECT name, phone FROM customers WHERE id = 1", &["Ada Lovelace|030 1"]).await;
    holds(
        &mut all.shop,
        "SELECT firstname, login, phone FROM shop_customers WHERE id = 1",
        &["Ada|Ada@Example.org|030 1"],
    )
    .await;
    holds(&mut all.office, "SELECT status, total FROM orders WHERE id = 2", &["shipped|0.00"]).await;
    holds(&mut all.shop, "SELECT state, total_cents FROM shop_orders WHERE id = 2", &["2|0"]).await;
    holds(&mut all.office, "SELECT on_hand FROM stock WHERE sku = 'tea'", &["8"]).await;
    holds(&mut all.shop, "SELECT quantity FROM shop_stock WHERE article = 'tea'", &["8"]).await;
    let journal = all.run(0, &["conflicts", "list", "--json"]).await;
    assert!(journal.contains("Ada King") && journal.contains("cancelled") && !journal.contains("2y$10"), "{journal}");
    // What the other side cannot hold waits, with the reason.
    all.office.execute("UPDATE orders SET status = 'lost' WHERE id = 1").await;
    all.shop.execute("UPDATE shop_customers SET newsletter = '?' WHERE id = 3").await;
    all.run(1, &["sync"]).await;
    let waits = all.run(0, &["parked", "list"]).await;
    assert!(waits.contains("it is nothing that `values` makes of a value of the node"), "{waits}");
    assert!(waits.contains("the node holds a value that `values` does not name"), "{waits}");
    all.office.execute("UPDATE orders SET status = 'paid' WHERE id = 1").await;
    all.shop.execute("UPDATE shop_customers SET newsletter = 'Y' WHERE id = 3").await;
    all.agrees().await;
    holds(&mut all.shop, "SELECT state, coupon FROM shop_orders WHERE id = 1", &["1|SPRING"]).await;
}

/// The script of the README, but for what cargo does in it: the plugins are there.
#[tokio::test]
async fn the_bundle_is_built_by_its_script() {
    let mut concord = Concord::new("");
    concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let (example, compiled) = (concord.path("examples/web-shop"), concord.path("target/plugins"));
    copy(&guests::root().join("examples/web-shop"), &example);
    for plugin in PLUGINS {
        // Somebody may have built it in the repository.
        let _ = std::fs::remove_file(example.join(format!("bundle/plugins/{plugin}.wasm")));
    }
    std::fs::create_dir_all(&compiled).unwrap();
    put_plugins(&compiled);
    let mut build = Command::new("sh");
    build.arg(example.join("build")).env("CARGO", "true").env("CONCORD", env!("CARGO_BIN_EXE_concord-under-test"));
    build.env("CONCORD_CACHE_DIR", guests::cache()).env_remove("CONCORD_FAULT");
    guests::said(&mut build);
    let checked = concord.run(&["bundle", "check", "examples/web-shop/web-shop-1.0.0.concord"]).await;
    let checked = ended(&checked, 0);
    assert_eq!(checked.matches(" good").count(), 4, "{checked}");
}

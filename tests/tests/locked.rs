//! Every command beside a user who holds a table locked and does not let go: it says in a line what is locked at which node and
//! what to do, ends with the code for what trying again may help with, and leaves nothing half done.

use concord_tests::{As, Concord, Database, Kind, Output, User};

/// How long Concord waits for a lock in these tests, ms.
const PATIENCE: &str = "100";

/// A node of some kind, whose table is locked, and another.
struct Case {
    kind: Kind,
    databases: [Database; 2],
    concord: Concord,
    wrong: Vec<String>,
}

impl Case {
    async fn new(kind: Kind) -> Case {
        let databases = [Database::new(kind).await, Database::new(Kind::Sqlite).await];
        for (database, check) in databases.iter().zip(["CHECK (amount < 100)", ""]) {
            let sql = format!(
                "CREATE TABLE items (id integer PRIMARY KEY, name varchar(20), amount integer {check});
                 INSERT INTO items VALUES (1, 'one', 1), (2, 'two', 2)"
            );
            database.user_as(As::Sync).await.execute(&sql).await;
        }
        let [a, b] = &databases;
        let mut concord = Concord::new(&format!(
            "name = \"locked\"\n[nodes.a]\nurl = \"{}\"\n[nodes.b]\nurl = \"{}\"\n[tables.items]\n",
            a.url(),
            b.url()
        ));
        concord.env("CONCORD_PATIENCE", PATIENCE);
        Case { kind, databases, concord, wrong: Vec::new() }
    }

    async fn user(&self, at: usize) -> User {
        self.databases[at].user().await
    }

    async fn lock(&self) -> User {
        let mut user = self.databases[0].user_as(As::Sync).await;
        let lock = match self.kind {
            Kind::Sqlite => "BEGIN EXCLUSIVE",
            Kind::Postgres => "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE",
            Kind::Mariadb => "LOCK TABLES items WRITE",
        };
        user.execute(lock).await;
        user
    }

    /// Lets go of it; whoever only closed the connection would not know when the server has noticed.
    async fn unlock(&self, mut user: User) {
        user.execute(if self.kind == Kind::Mariadb { "UNLOCK TABLES" } else { "ROLLBACK" }).await;
    }

    /// Ends with the code; with that for locks it says so.
    async fn check(&mut self, arguments: &[&str], code: i32) -> Output {
        let output = self.concord.run(arguments).await;
        let parts: &[&str] = match self.kind {
            Kind::Sqlite => &["write lock"],
            Kind::Postgres => &[".items", "process "],
            Kind::Mariadb => &["items"],
        };
        let told =
            |line: &str| ["node `a`", "run the command again"].iter().chain(parts).all(|part| line.contains(part));
        let all = [&output.stderr[..], &output.stdout].concat();
        if output.status.code() != Some(code) || code == 3 && !all.lines().any(told) {
            self.wrong.push(format!("{arguments:?}: {:?} instead of {code}\n{all}", output.status.code()));
        }
        output
    }

    /// Makes a conflict, whose id it gives, and a row that waits.
    async fn left_undone(&mut self) -> String {
        for at in 0..2 {
            self.user(at).await.execute(&format!("UPDATE items SET name = 'from {at}' WHERE id = 1")).await;
        }
        self.user(1).await.execute("INSERT INTO items VALUES (9, 'large', 500)").await;
        self.check(&["sync"], 1).await;
        let conflicts = self.check(&["conflicts", "list", "--json"], 0).await.json();
        conflicts["conflicts"][0]["id"].as_str().expect("a conflict").to_owned()
    }
}

async fn all_commands(kind: Kind) {
    let mut case = Case::new(kind).await;
    let lock = case.lock().await;
    case.check(&["install"], 3).await;
    case.unlock(lock).await;
    case.check(&["install"], 0).await;

    // GIVEN a conflict, a row that waits and a change on its way
    let id = case.left_undone().await;
    case.user(1).await.execute("UPDATE items SET name = 'news' WHERE id = 2").await;

    // WHEN the table is locked
    let lock = case.lock().await;
    // Files can be read all the same.
    let reading = |code| if kind == Kind::Sqlite { code } else { 3 };
    case.check(&["sync"], 3).await;
    case.check(&["load", "--prefer", "b"], 3).await;
    case.check(&["verify"], reading(0)).await;
    case.check(&["verify", "--repair"], reading(0)).await;
    case.check(&["plan"], reading(1)).await;
    case.check(&["why", "items", "2"], reading(0)).await;
    case.check(&["conflicts", "resolve", &id, "--undo"], 3).await;
    case.check(&["parked", "retry"], 3).await;
    case.check(&["parked", "drop", "--yes"], 3).await;
    case.check(&["uninstall", "--yes"], 3).await;
    case.unlock(lock).await;

    // THEN everything is as it was
    let installed = case.check(&["install"], 0).await;
    assert_eq!(installed.stdout, "a: already in place\nb: already in place\n", "{kind:?}");
    case.check(&["sync"], 1).await;
    // AND histories cannot be emptied while somebody writes to the one that is locked
    let mut writer = case.databases[0].user_as(As::Sync).await;
    let (begin, history) = match kind {
        Kind::Sqlite => ("BEGIN EXCLUSIVE", ""),
        Kind::Postgres => ("BEGIN", "; LOCK TABLE history_store.items IN ROW EXCLUSIVE MODE"),
        Kind::Mariadb => ("", "LOCK TABLES history_store_items WRITE"),
    };
    writer.execute(&format!("{begin}{history}")).await;
    case.check(&["reset", "--yes"], 3).await;
    case.unlock(writer).await;
    case.check(&["reset", "--yes"], 0).await;
    case.check(&["uninstall", "--yes"], 0).await;
    assert!(case.wrong.is_empty(), "{kind:?}:\n{}", case.wrong.join("\n"));
}

#[tokio::test]
async fn all_commands_on_sqlite() {
    all_commands(Kind::Sqlite).await;
}

#[tokio::test]
async fn all_commands_on_postgres() {
    all_commands(Kind::Postgres).await;
}

#[tokio::test]
async fn all_commands_on_mariadb() {
    all_commands(Kind::Mariadb).await;
}

/// A node and another, with a conflict, a row that waits and a further table, and the conflict's id.
async fn unsettled(kind: Kind) -> (Case, String) {
    let mut case = Case::new(kind).await;
    for database in &case.databases {
        database.user_as(As::Sync).await.execute("CREATE TABLE others (id integer PRIMARY KEY)").await;
    }
    let config = std::fs::read_to_string(case.concord.path("concord.toml")).expect("the configuration");
    case.concord.write("concord.toml", &(config + "[tables.others]\n"));
    case.check(&["install"], 0).await;
    let id = case.left_undone().await;
    (case, id)
}

/// Rows that wait and conflicts are settled while another table is held up, such as by a change of its columns. (On MariaDB not even a
/// snapshot can be read then.)
#[tokio::test]
async fn another_table() {
    let (mut case, id) = unsettled(Kind::Postgres).await;
    let mut holder = case.databases[0].user_as(As::Sync).await;
    holder.execute("BEGIN; LOCK TABLE others IN ACCESS EXCLUSIVE MODE").await;
    case.check(&["parked", "drop", "--yes"], 0).await;
    case.check(&["conflicts", "resolve", &id, "--undo"], 0).await;
    case.unlock(holder).await;
    assert!(case.wrong.is_empty(), "{}", case.wrong.join("\n"));
}

/// Of several tables the one is named that is locked.
#[tokio::test]
async fn the_locked_one_of_several() {
    let (case, _) = unsettled(Kind::Mariadb).await;
    let mut holder = case.databases[0].user_as(As::Sync).await;
    holder.execute("LOCK TABLES others WRITE").await;
    case.user(1).await.execute("INSERT INTO others VALUES (1)").await;
    let output = case.concord.run(&["sync"]).await;
    let told = output.stderr.lines().any(|line| line.contains("others: locked") && !line.contains("items"));
    assert!(output.status.code() == Some(3) && told, "{output:?}");
    case.unlock(holder).await;
}

/// A plan is carried out beside a user who holds a row of it.
#[tokio::test]
async fn a_row_of_a_plan() {
    let (mut case, _) = unsettled(Kind::Postgres).await;
    case.user(1)
        .await
        .execute("UPDATE items SET name = 'news' WHERE id = 2; UPDATE items SET name = 'more' WHERE id = 1")
        .await;
    case.check(&["plan", "--out", "plan.json"], 1).await;
    let mut holder = case.user(0).await;
    holder.execute("BEGIN; SELECT 1 FROM items WHERE id = 2 FOR UPDATE").await;
    let carried = case.concord.run(&["sync", "--plan", "plan.json", "--json"]).await;
    assert_eq!((carried.status.code(), &carried.json()["held"]), (Some(3), &1.into()), "{carried:?}");
    case.unlock(holder).await;
    case.check(&["sync"], 1).await;
    assert_eq!(case.user(0).await.cell("SELECT name FROM items WHERE id = 2").await, "news");
    assert!(case.wrong.is_empty(), "{}", case.wrong.join("\n"));
}

/// Who stands still in the midst of it is told: another engine, and a transaction that was prepared and forgotten. Whoever is in
/// nobody's way is not.
#[tokio::test]
async fn who_is_in_the_way() {
    let (mut case, _) = unsettled(Kind::Postgres).await;
    let mut other = case.databases[0].user_as(As::Sync).await;
    case.user(1).await.execute("UPDATE items SET name = 'news' WHERE id = 2").await;
    other.execute("BEGIN; SELECT 1 FROM concord.position FOR UPDATE").await;
    let engine = other.cell("SELECT pg_backend_pid()").await;
    let output = case.concord.run(&["sync"]).await;
    let told = output.says("concord.position: locked") && output.says(&format!("in the way: process {engine} holds"));
    assert!(output.status.code() == Some(3) && told, "{output:?}");
    other.execute("ROLLBACK").await;
    // Reading is kept from nobody by this lock.
    other.execute("BEGIN; LOCK TABLE items IN SHARE MODE").await;
    let mut owner = case.databases[0].user_as(As::Sync).await;
    owner.execute("BEGIN; LOCK TABLE others IN ACCESS EXCLUSIVE MODE").await;
    case.user(1).await.execute("INSERT INTO others VALUES (1)").await;
    let output = case.concord.run(&["sync"]).await;
    assert!(output.says("others") && !output.says(&format!("process {engine} ")), "{output:?}");
    let name = format!("forgotten {engine}");
    owner.execute(&format!("PREPARE TRANSACTION '{name}'")).await;
    let output = case.concord.run(&["sync"]).await;
    assert!(output.says(&format!("the prepared transaction '{name}' holds ")), "{output:?}");
    owner.execute(&format!("ROLLBACK PREPARED '{name}'")).await;
    other.execute("ROLLBACK").await;
    case.check(&["sync"], 1).await;
    assert!(case.wrong.is_empty(), "{}", case.wrong.join("\n"));
}

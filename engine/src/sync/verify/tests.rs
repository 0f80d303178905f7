//! A comparison that everybody leaves before its end.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::session::Connector;
use super::*;
use crate::fault::{self, Faults};
use crate::node;
use crate::sync::tests::files;

/// GIVEN a table with triggers that stands still, and three that are compared
/// WHEN all connections break for good once the first of these was mended
/// THEN that is told, and of the others why they were not compared.
#[tokio::test]
async fn what_was_written_is_told_though_nobody_is_left() {
    let sql = ["t", "v", "w", "u"].map(|table| format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY);"));
    let tables = ["t", "v", "w"].map(|name| format!("[tables.{name}]\nmode = \"compare\"\nfrom = \"a\"\n"));
    let (folder, databases, mut session) = files::two(&sql.concat(), &format!("{}[tables.u]\n", tables.concat()));
    for name in ["t", "v", "w"] {
        databases[0].execute_batch(&format!("INSERT INTO {name} VALUES (1)")).expect("it is there");
    }
    let gone = Arc::new(AtomicBool::new(false));
    let door = gone.clone();
    let connector: Connector = Arc::new(move |target| {
        let gone = door.load(Ordering::SeqCst);
        Box::pin(async move {
            match gone {
                true => Err(node::Error::new(ErrorKind::Lost, "gone")),
                false => node::connect(&target).await,
            }
        })
    });
    session.install().await.expect("nothing is wrong");
    databases[1].execute_batch("DROP TABLE u").expect("it is there");
    let mut session = Session::with_connector(session.config.clone(), connector);
    // What stands still is looked up anew whenever they assemble, also where nobody is there any more.
    session.look_again = Duration::ZERO;
    let gate = folder.path().join("gate");
    // The first table is opened three times at both nodes: to sum it up, to narrow, and to look again.
    let faults: Faults = format!("compare-open=pause:{}@7", gate.display()).parse().expect("the rule is one");
    let faults = Arc::new(Mutex::new(faults));
    let tables = ["t", "v", "w"].map(str::to_owned).to_vec();
    let how = Verify { tables, repair: Repair::Mend, ..Verify::default() };
    let verifying = Box::pin(fault::scoped(faults.clone(), session.verify(&how)));
    let breaking = async {
        while !gate.exists() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        gone.store(true, Ordering::SeqCst);
        *faults.lock().unwrap_or_else(PoisonError::into_inner) = "compare-open=error".parse().expect("the rule is one");
        std::fs::remove_file(&gate).expect("it is there");
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { futures::join!(verifying, breaking).0 });
    let verified = both.await.expect("the second table is opened").expect("what was written is told");
    let told: Vec<_> = verified.tables.iter().map(|one| (&one.table[..], one.mended, one.skipped.is_some())).collect();
    assert_eq!(told, [("t", 1, false), ("v", 0, true), ("w", 0, true)], "{verified:#?}");
    assert_eq!((verified.away.len(), verified.exit_code()), (2, crate::error::UNREACHABLE), "{verified:#?}");
    assert!(verified.tables[2].skipped.as_ref().is_some_and(|why| why.contains("away")), "{verified:#?}");
}

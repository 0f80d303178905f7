//! Rows of a whole table on their way from the node that reads them to whoever looks at them, in lots.

use tokio::sync::mpsc;

use super::{Error, ErrorKind, Result};
use crate::model::{Key, Row};

/// How much of a table is in one lot, in bytes, about.
pub const LOT: usize = 512 << 10;

/// Lots that wait to be looked at while the next is read.
const AHEAD: usize = 2;

/// A row in the node's own shape; or the key of one that holds a value which cannot be carried, and why it cannot.
pub type Scanned = std::result::Result<Row, (Key, String)>;

/// Some rows of a table, perhaps still as they came from the database: whoever takes them unpacks them, beside the reading.
pub struct Lot(Box<dyn FnOnce() -> Result<Vec<Scanned>> + Send>);

/// Where lots go.
pub struct Lots(mpsc::Sender<Lot>);

/// A way for lots, and its other end.
pub fn lots() -> (Lots, mpsc::Receiver<Lot>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    (Lots(sender), receiver)
}

impl Lot {
    pub fn new(unpack: impl FnOnce() -> Result<Vec<Scanned>> + Send + 'static) -> Lot {
        Lot(Box::new(unpack))
    }

    /// The rows. Fails if the database has sent something else.
    pub fn unpack(self) -> Result<Vec<Scanned>> {
        (self.0)()
    }
}

impl Lots {
    /// Sends a lot, as soon as there is room. Fails if nobody takes any more.
    pub async fn send(&self, lot: Lot) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Other, "nobody takes the rows any more");
        self.0.send(lot).await.map_err(gone)
    }
}

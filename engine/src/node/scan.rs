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
pub struct Lot(Unpack);

type Unpack = Box<dyn FnOnce(&mut dyn FnMut(Scanned)) -> Result<()> + Send>;

/// Where lots go.
pub struct Lots(mpsc::Sender<Lot>);

/// A way for lots, and its other end.
pub fn lots() -> (Lots, mpsc::Receiver<Lot>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    (Lots(sender), receiver)
}

impl Lot {
    /// Rows that have still to be made of what came from the database.
    pub fn packed(unpack: impl FnOnce(&mut dyn FnMut(Scanned)) -> Result<()> + Send + 'static) -> Lot {
        Lot(Box::new(unpack))
    }

    pub fn of(rows: Vec<Scanned>) -> Lot {
        Lot::packed(move |take| {
            rows.into_iter().for_each(take);
            Ok(())
        })
    }

    /// Gives the rows one by one, so that each can be gone before the next is made. Fails if the database has sent something
    /// else.
    pub fn unpack(self, mut take: impl FnMut(Scanned)) -> Result<()> {
        (self.0)(&mut take)
    }
}

impl Lots {
    /// Sends a lot, as soon as there is room. Fails if nobody takes any more.
    pub async fn send(&self, lot: Lot) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Other, "nobody takes the rows any more");
        self.0.send(lot).await.map_err(gone)
    }
}

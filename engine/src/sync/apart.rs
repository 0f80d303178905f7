//! Work at a node in a task of its own: what is read of several nodes is taken in by several processors.

use std::panic::resume_unwind;

use futures::future::BoxFuture;
use tokio::task::{JoinHandle, JoinSet};

use super::attendance::Member;
use crate::fault;
use crate::node::{self, ErrorKind, Node};

impl Member {
    /// Works with the node, if it is there, in a task of its own. Whoever stops waiting cuts the work off, and the connection
    /// with it.
    pub(super) async fn apart<T: Send + 'static>(
        &mut self,
        work: impl for<'a> FnOnce(&'a mut dyn Node) -> BoxFuture<'a, node::Result<T>> + Send + 'static,
    ) -> Option<node::Result<T>> {
        apart(&mut self.node, work).await
    }

    /// The same with what reads rows in the node's snapshot.
    pub(super) async fn reading_apart<T: Send + 'static>(
        &mut self,
        work: impl for<'a> FnOnce(&'a mut dyn Node) -> BoxFuture<'a, node::Result<T>> + Send + 'static,
    ) -> Option<node::Result<T>> {
        apart(if self.reader.is_some() { &mut self.reader } else { &mut self.node }, work).await
    }
}

/// Work that blocks, or takes a processor for a while, on a thread for such.
pub(super) fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(test)]
    if let Some(turns) = super::memory::turns() {
        return tokio::spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            work()
        });
    }
    tokio::task::spawn_blocking(work)
}

async fn apart<T: Send + 'static>(
    place: &mut Option<Box<dyn Node>>,
    work: impl for<'a> FnOnce(&'a mut dyn Node) -> BoxFuture<'a, node::Result<T>> + Send + 'static,
) -> Option<node::Result<T>> {
    let mut node = place.take()?;
    let mut task = JoinSet::new();
    task.spawn(fault::carried(async move {
        let done = work(&mut *node).await;
        (node, done)
    }));
    let lost = || Some(Err(node::Error::new(ErrorKind::Lost, "the engine is ending")));
    back(place, task).await.or_else(lost)
}

/// Waits for a task that has a node, and puts the node back in its place; what came of the task, if it was not cut off.
pub(super) async fn back<T: 'static>(
    place: &mut Option<Box<dyn Node>>,
    mut task: JoinSet<(Box<dyn Node>, T)>,
) -> Option<T> {
    match task.join_next().await? {
        Ok((node, done)) => {
            *place = Some(node);
            Some(done)
        }
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}

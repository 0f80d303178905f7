//! One reading of a table at all nodes at once; what is read is measured on other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;

use super::super::session::Session;
use super::digest::Taker;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::NodeId;
use crate::node::{self, lots};

impl Session {
    /// Reads all rows of a table in the snapshots that are open, each node's into its taker.
    pub(super) async fn pass<T: Taker>(
        &mut self,
        table: usize,
        takers: Vec<(NodeId, T)>,
        progress: &Arc<AtomicU64>,
    ) -> Result<Vec<T>> {
        fault::point("verify-pass").await?;
        let mut reading = Vec::with_capacity(takers.len());
        for (id, mut taker) in takers {
            let member = &mut self.members[id.index()];
            let (Some(form), Some(mut node)) = (self.tables[table].form(id), member.node.take()) else {
                return Err(Error::Internal(format!("{} is compared and not there", member.name)));
            };
            let spec = form.spec.clone();
            let (sender, mut receiver) = lots();
            let progress = progress.clone();
            // A task of its own: a node that reads on its caller's thread would keep the others from reading.
            let reader = tokio::spawn(async move {
                let done = node.scan(&spec, &sender).await;
                (node, done)
            });
            let taking = tokio::task::spawn_blocking(move || {
                while let Some(lot) = receiver.blocking_recv() {
                    let mut rows = 0;
                    lot.unpack(|row| {
                        rows += 1;
                        taker.take(row);
                    })?;
                    progress.fetch_add(rows, Ordering::Relaxed);
                }
                taker.end();
                Ok::<T, node::Error>(taker)
            });
            reading.push(async move { (id, reader.await, taking.await) });
        }
        let mut takers = Vec::with_capacity(reading.len());
        let mut failed = None;
        for (id, reader, taking) in join_all(reading).await {
            let (node, read) = reader.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            let taken = taking.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            let member = &mut self.members[id.index()];
            member.node = Some(node);
            let doing = || format!("reading `{}`", self.tables[table].name);
            // Why the rows could not be taken is the reason why they could not be sent.
            match taken.and_then(|taken| read.map(|()| taken)) {
                Ok(taken) => takers.push(taken),
                Err(error) => failed = failed.or_else(|| Some(Error::at(&member.name, doing())(error))),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(takers),
        }
    }
}

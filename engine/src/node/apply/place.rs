//! Who is claimed first, where several nodes take what was decided.
//!
//! Two engines that have read the same may decide a conflict differently: each measures the clocks for itself. If each were
//! first at another node, both nodes would have seen everything and hold different rows. Claimed one after the other, in the
//! same order by everybody, nodes take what one engine decided: whoever comes too late at one of them writes at none of the
//! rest.

use tokio::sync::oneshot;

use super::Batch;

/// A node's place in the line. Whoever gives it up without a claim lets the next go on: what one node cannot take now
/// must not keep the others back.
#[derive(Debug, Default)]
pub struct Place {
    before: Option<oneshot::Receiver<bool>>,
    next: Option<oneshot::Sender<bool>>,
}

impl Place {
    /// Each node's place. Those that have something to do stand one after the other.
    pub fn line(batches: &[Option<Batch>]) -> Vec<Place> {
        let mut line = Place::abreast(batches);
        let mut before: Option<usize> = None;
        for at in (0..batches.len()).filter(|&at| batches[at].is_some()) {
            if let Some(before) = before.replace(at) {
                let (next, comes) = oneshot::channel();
                line[before].next = Some(next);
                line[at].before = Some(comes);
            }
        }
        line
    }

    /// Nobody waits for anybody.
    pub fn abreast(batches: &[Option<Batch>]) -> Vec<Place> {
        batches.iter().map(|_| Place::default()).collect()
    }

    /// Waits until those before are claimed; `false` if another engine was first at one of them.
    pub(super) async fn comes(&mut self) -> bool {
        match self.before.take() {
            Some(before) => before.await.unwrap_or(true),
            None => true,
        }
    }

    /// Tells the next whether this node is claimed, or another engine was first.
    pub(super) fn pass_on(&mut self, claimed: bool) {
        if let Some(next) = self.next.take() {
            // Whoever comes after may have left.
            let _ = next.send(claimed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the last of three nodes is written, of which the second has nothing to do, by what becomes of the first.
    async fn comes(first: impl FnOnce(Place)) -> bool {
        let mut line = Place::line(&[Some(Batch::default()), None, Some(Batch::default())]);
        let mut last = line.remove(2);
        first(line.remove(0));
        last.comes().await
    }

    #[tokio::test]
    async fn whoever_is_overtaken_stops_those_behind_and_whoever_leaves_does_not() {
        assert!(comes(|mut place| place.pass_on(true)).await);
        assert!(!comes(|mut place| place.pass_on(false)).await);
        assert!(comes(drop).await);
        assert!(Place::default().comes().await);
    }
}

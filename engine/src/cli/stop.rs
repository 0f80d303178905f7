//! Ending cleanly on SIGTERM and Ctrl-C.

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Tells whether the user wants the command to end. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Starts listening for signals. The first asks; a second ends the process at once, which is safe at any moment.
    /// Must be called inside a runtime.
    pub fn listen() -> Result<Stop> {
        let mut signals = Signals::new().map_err(|why| Error::Internal(format!("listening for signals: {why}")))?;
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            tracing::info!("stopping after the current step; a second signal stops at once");
            // Nobody may be listening any more: then the command is at its end anyway.
            let _ = ask.send(true);
            signals.next().await;
            std::process::exit(130);
        });
        Ok(Stop(asked))
    }

    /// Waits until asked.
    pub async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The sender is gone and has not asked: it never will.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks() {
        let mut stop = Stop::listen().unwrap();
        assert!(!*stop.0.borrow());
        let sent = std::process::Command::new("kill").arg("-TERM").arg(std::process::id().to_string()).status();
        assert!(sent.unwrap().success());
        stop.asked().await;
        assert!(*stop.0.borrow());
    }

    #[tokio::test]
    async fn never_is_never() {
        let mut stop = Stop(watch::channel(false).1);
        let early = tokio::select! {
            biased;
            () = stop.asked() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!early);
    }
}

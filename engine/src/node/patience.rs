//! How long is waited: for a server's answer as long as it is at work, and for locks not long.

use std::task::Poll;
use std::time::{Duration, Instant};

/// How long to wait for what somebody holds locked: as long as is usual there or, in a build with fault points, at most as many
/// milliseconds as `CONCORD_PATIENCE` says.
pub fn for_locks(usual: Duration) -> Duration {
    #[cfg(feature = "faults")]
    if let Ok(most) = std::env::var("CONCORD_PATIENCE") {
        let most = most.parse().unwrap_or_else(|_| panic!("CONCORD_PATIENCE is `{most}`, and takes milliseconds"));
        return usual.min(Duration::from_millis(most));
    }
    usual
}

/// What is known of a session that says nothing.
#[derive(Clone)]
pub enum Word {
    AtWork,
    /// Its server lets it wait for what may never come, and calls that so.
    Stuck(String),
    /// Its server is there and takes no connection, so nobody can tell.
    Untold,
    /// It has ended or stands still, or another server is there now.
    Gone,
}

/// What is told of something that waits at a server and was given up.
pub fn stuck(state: &str) -> String {
    format!(
        "what Concord has sent waits at the server (`{state}`) and may count yet; do not kill it there; nothing more is sent until \
         it has ended by itself"
    )
}

/// Waits for an answer as long as what is asked after each silence says that it may come; `belief` is how long a server is
/// believed to be at work that says no more than that it takes no connection now.
pub async fn patiently<T, A: Future<Output = Word>>(
    mut answer: impl Future<Output = sqlx::Result<T>> + Unpin,
    silence: Duration,
    belief: Duration,
    ask: impl Fn() -> A,
) -> sqlx::Result<T> {
    let mut untold: Option<Instant> = None;
    loop {
        if let Ok(answer) = tokio::time::timeout(silence, &mut answer).await {
            return answer;
        }
        let why = match ask().await {
            Word::AtWork => {
                untold = None;
                continue;
            }
            Word::Untold if untold.get_or_insert_with(Instant::now).elapsed() < belief => continue,
            Word::Untold | Word::Gone => {
                "there was no answer, and the server is no longer at work on one or cannot be reached".to_owned()
            }
            Word::Stuck(state) => format!("there was no answer: {}", stuck(&state)),
        };
        // It may have come while that was asked.
        if let Poll::Ready(answer) = futures::poll!(&mut answer) {
            return answer;
        }
        return Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is full is believed for a while; one that answers something else, such as that it knows no such user
    /// or database, is another one.
    #[tokio::test]
    async fn silence_is_not_waited_out_for_ever() {
        let never = || std::future::pending::<sqlx::Result<()>>();
        let (silence, belief) = (Duration::from_millis(1), Duration::from_millis(20));
        for (words, at_least) in [
            (&[Word::Gone][..], 1),
            (&[Word::AtWork, Word::AtWork, Word::Gone], 3),
            (&[Word::Untold], 2),
            (&[Word::AtWork, Word::AtWork, Word::AtWork, Word::Untold], 5),
        ] {
            let asked = std::cell::Cell::new(0);
            let ask = || {
                let word = words[asked.get().min(words.len() - 1)].clone();
                asked.set(asked.get() + 1);
                std::future::ready(word)
            };
            let lost = tokio::time::timeout(Duration::from_secs(60), patiently(never(), silence, belief, ask)).await;
            assert!(matches!(lost, Ok(Err(sqlx::Error::Io(_)))) && asked.get() >= at_least, "{}", asked.get());
        }
        // What waits may count yet, and nobody is to kill it.
        let ask = || std::future::ready(Word::Stuck("Waiting for a standby".to_owned()));
        let lost = patiently(never(), silence, belief, ask).await.unwrap_err().to_string();
        assert!(lost.contains("(`Waiting for a standby`)") && lost.contains("do not kill it"), "{lost}");
        // Who answers just then has answered.
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = std::cell::Cell::new(Some(tell));
        let late = Box::pin(async { Ok(told.await.is_ok()) });
        let ask = || {
            assert!(tell.take().is_some_and(|tell| tell.send(()).is_ok()));
            std::future::ready(Word::Gone)
        };
        assert!(patiently(late, silence, belief, ask).await.unwrap());
        let answered = std::future::ready(Ok(7));
        assert_eq!(patiently(answered, silence, belief, || std::future::ready(Word::Gone)).await.unwrap(), 7);
    }
}

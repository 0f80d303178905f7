//! Fault points: named places at which a test can kill, pause, fail or delay the engine.
//!
//! The engine says `fault::point("apply-before-commit").await?` where a test may want to interfere. Without the feature
//! `faults` that is nothing at all: the function is empty and its error cannot exist. With it, a point does what the
//! environment variable `CONCORD_FAULT` says, or what a test in the same process has asked for with `set` or
//! `scoped`.
//!
//! `CONCORD_FAULT` is a list of `point=action` separated by commas. The actions are:
//!
//! | action | what happens |
//! |---|---|
//! | `abort` | the process dies at once, as if killed: nothing is cleaned up |
//! | `error` | the point fails; the caller sees a lost connection |
//! | `pause:FILE` | creates FILE and goes on when somebody has removed it |
//! | `delay:MS` | waits so many milliseconds |
//!
//! `action@N` acts at the N-th pass only, counted from 1; otherwise every pass acts.

#[cfg(not(feature = "faults"))]
pub use absent::{Fault, blocking_point, carried, point};
#[cfg(feature = "faults")]
pub use present::{Action, BadFault, Fault, Faults, Rule, blocking_point, carried, clear, passes, point, scoped, set};

#[cfg(not(feature = "faults"))]
mod absent {
    /// Never made in a build without faults.
    #[derive(Debug, thiserror::Error)]
    pub enum Fault {}

    /// Does nothing in a build without faults.
    #[inline(always)]
    pub async fn point(_name: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// [`point`] for code that is not async; does nothing in a build without faults.
    #[inline(always)]
    pub fn blocking_point(_name: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// The work as it is, in a build without faults.
    #[inline(always)]
    pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        work
    }
}

#[cfg(feature = "faults")]
mod present {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::str::FromStr;
    use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    /// How often a paused point looks whether its file is gone.
    const POLL: Duration = Duration::from_millis(3);

    /// A point was told to fail.
    #[derive(Debug, thiserror::Error)]
    #[error("the fault point `{0}` was told to fail")]
    pub struct Fault(pub String);

    /// What a point does.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Action {
        /// The process dies at once.
        Abort,
        /// The point fails.
        Error,
        /// Creates the file and waits until it is gone.
        Pause(PathBuf),
        /// Waits.
        Delay(Duration),
    }

    /// An action and when it happens.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Rule {
        pub action: Action,
        /// The only pass that acts, from 1; `None` is every pass.
        pub pass: Option<u64>,
    }

    /// A rule that cannot be read.
    #[derive(Debug, PartialEq, Eq, thiserror::Error)]
    #[error("`{0}` is no fault rule; write point=abort, point=error, point=pause:FILE or point=delay:MS, each with @N")]
    pub struct BadFault(String);

    impl FromStr for Rule {
        type Err = BadFault;

        fn from_str(text: &str) -> Result<Rule, BadFault> {
            let bad = || BadFault(text.to_owned());
            let (action, pass) = match text.rsplit_once('@') {
                Some((action, pass)) if !pass.is_empty() && pass.bytes().all(|b| b.is_ascii_digit()) => {
                    (action, Some(pass.parse().map_err(|_| bad())?))
                }
                _ => (text, None),
            };
            let action = match action.split_once(':') {
                None if action == "abort" => Action::Abort,
                None if action == "error" => Action::Error,
                Some(("pause", file)) if !file.is_empty() => Action::Pause(file.into()),
                Some(("delay", ms)) => Action::Delay(Duration::from_millis(ms.parse().map_err(|_| bad())?)),
                _ => return Err(bad()),
            };
            Ok(Rule { action, pass })
        }
    }

    /// Rules by point, and how often each point was passed.
    #[derive(Debug, Default)]
    pub struct Faults {
        rules: HashMap<String, Rule>,
        passes: HashMap<String, u64>,
    }

    impl FromStr for Faults {
        type Err = BadFault;

        fn from_str(text: &str) -> Result<Faults, BadFault> {
            let mut faults = Faults::default();
            for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                let (point, rule) = item.split_once('=').ok_or_else(|| BadFault(item.to_owned()))?;
                faults.rules.insert(point.trim().to_owned(), rule.trim().parse()?);
            }
            Ok(faults)
        }
    }

    impl Faults {
        /// How often a point was passed so far.
        pub fn passes(&self, point: &str) -> u64 {
            self.passes.get(point).copied().unwrap_or(0)
        }

        fn pass(&mut self, point: &str) -> Option<Action> {
            let count = self.passes.entry(point.to_owned()).or_default();
            *count += 1;
            let rule = self.rules.get(point)?;
            rule.pass.is_none_or(|pass| pass == *count).then(|| rule.action.clone())
        }
    }

    static GLOBAL: LazyLock<Mutex<Faults>> = LazyLock::new(|| {
        let rules = std::env::var("CONCORD_FAULT").unwrap_or_default();
        Mutex::new(rules.parse().unwrap_or_else(|error| {
            // A test whose fault is silently ignored would prove nothing.
            eprintln!("CONCORD_FAULT: {error}");
            std::process::exit(2)
        }))
    });

    tokio::task_local! {
        static SCOPE: Arc<Mutex<Faults>>;
    }

    fn locked(faults: &Mutex<Faults>) -> MutexGuard<'_, Faults> {
        faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a point of this process a rule, in place of the one it had.
    pub fn set(point: &str, rule: Rule) {
        locked(&GLOBAL).rules.insert(point.to_owned(), rule);
    }

    /// Takes the rule from a point of this process and forgets its passes.
    pub fn clear(point: &str) {
        let mut faults = locked(&GLOBAL);
        faults.rules.remove(point);
        faults.passes.remove(point);
    }

    /// How often a point was passed in this process, outside of [`scoped`].
    pub fn passes(point: &str) -> u64 {
        locked(&GLOBAL).passes(point)
    }

    /// Takes the rules that hold here along to another task.
    pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        let scope = SCOPE.try_with(Arc::clone).ok();
        async move {
            match scope {
                Some(scope) => scoped(scope, work).await,
                None => work.await,
            }
        }
    }

    /// Runs `work` under rules of its own, so that tests in one process do not disturb each other. Tasks that `work`
    /// spawns are outside, but for what is [`carried`].
    pub async fn scoped<T>(faults: Arc<Mutex<Faults>>, work: impl Future<Output = T>) -> T {
        SCOPE.scope(faults, work).await
    }

    fn next_action(name: &str) -> Option<Action> {
        match SCOPE.try_with(Arc::clone) {
            Ok(scope) => locked(&scope).pass(name),
            Err(_) => locked(&GLOBAL).pass(name),
        }
    }

    fn create(file: &Path, name: &str) -> Result<(), Fault> {
        std::fs::write(file, name).map_err(|_| Fault(name.to_owned()))
    }

    /// Does what the point was told to do, if anything; see the module.
    pub async fn point(name: &str) -> Result<(), Fault> {
        match next_action(name) {
            None => Ok(()),
            Some(Action::Abort) => std::process::abort(),
            Some(Action::Error) => Err(Fault(name.to_owned())),
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Action::Pause(file)) => {
                create(&file, name)?;
                while file.exists() {
                    tokio::time::sleep(POLL).await;
                }
                Ok(())
            }
        }
    }

    /// [`point`] for code that is not async. The thread waits.
    pub fn blocking_point(name: &str) -> Result<(), Fault> {
        match next_action(name) {
            None => Ok(()),
            Some(Action::Abort) => std::process::abort(),
            Some(Action::Error) => Err(Fault(name.to_owned())),
            Some(Action::Delay(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(Action::Pause(file)) => {
                create(&file, name)?;
                while file.exists() {
                    std::thread::sleep(POLL);
                }
                Ok(())
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn rules_are_read_and_what_is_wrong_is_named() {
            let faults: Faults = "a=abort@2, b=pause:/tmp/x@y,c=delay:30@1,d=error".parse().unwrap();
            assert_eq!(faults.rules["a"], Rule { action: Action::Abort, pass: Some(2) });
            assert_eq!(faults.rules["b"], Rule { action: Action::Pause("/tmp/x@y".into()), pass: None });
            assert_eq!(faults.rules["c"], Rule { action: Action::Delay(Duration::from_millis(30)), pass: Some(1) });
            assert_eq!(faults.rules["d"], Rule { action: Action::Error, pass: None });
            for bad in ["a", "a=", "a=kill", "a=pause", "a=pause:", "a=delay:soon", "a=abort:1"] {
                assert!(bad.parse::<Faults>().unwrap_err().to_string().contains("is no fault rule"), "{bad}");
            }
        }

        #[tokio::test]
        async fn a_point_acts_at_its_pass_and_only_in_its_scope() {
            let faults = Arc::new(Mutex::new("x=error@2".parse::<Faults>().unwrap()));
            scoped(Arc::clone(&faults), async {
                assert!(point("x").await.is_ok());
                assert!(point("x").await.is_err());
                assert!(blocking_point("x").is_ok());
            })
            .await;
            assert!(point("x").await.is_ok());
            assert_eq!(locked(&faults).passes("x"), 3);
        }

        #[tokio::test]
        async fn a_paused_point_goes_on_when_its_file_is_removed() {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("paused");
            let faults = format!("p=pause:{}", file.display()).parse::<Faults>().unwrap();
            let remove = async {
                while !file.exists() {
                    tokio::task::yield_now().await;
                }
                std::fs::remove_file(&file).unwrap();
            };
            let (passed, ()) = futures::join!(scoped(Arc::new(Mutex::new(faults)), point("p")), remove);
            assert!(passed.is_ok());
        }
    }
}

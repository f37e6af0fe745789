// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the agent lives, and whether it is ready: what a kubelet asks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{AbortHandle, JoinHandle};

/// How far the agent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not ready yet; what it does.
    Starting(&'static str),
    /// Its first pass over all ports has ended, and it serves.
    Ready,
    /// It was told to stop.
    Stopping,
}

/// The agent's health.
#[derive(Debug)]
pub struct Health {
    stage: Mutex<Stage>,
    tasks: Mutex<Vec<(&'static str, AbortHandle)>>,
}

impl Default for Health {
    fn default() -> Self {
        Self { stage: Mutex::new(Stage::Starting("loading the programs")), tasks: Mutex::default() }
    }
}

impl Health {
    /// From now on the agent is not healthy when this task has ended.
    pub fn must_run<T>(&self, name: &'static str, task: &JoinHandle<T>) {
        held(&self.tasks).push((name, task.abort_handle()));
    }

    /// The agent has come this far.
    pub fn enter(&self, stage: Stage) {
        *held(&self.stage) = stage;
    }

    /// Whether all tasks run that must.
    ///
    /// # Errors
    /// The tasks that have ended.
    pub fn alive(&self) -> Result<(), String> {
        let tasks = held(&self.tasks);
        let ended: Vec<_> =
            tasks.iter().filter(|(_, task)| task.is_finished()).map(|(name, _)| *name).collect();
        if ended.is_empty() { Ok(()) } else { Err(format!("ended: {}", ended.join(", "))) }
    }

    /// Whether ports are looked after and asks are answered.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        self.alive()?;
        match *held(&self.stage) {
            Stage::Starting(what) => Err(format!("starting: {what}")),
            Stage::Ready => Ok(()),
            Stage::Stopping => Err("stopping".to_owned()),
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done while a lock is held.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ended_is_named_by_both_answers() {
        let health = Health::default();
        let (living, ended) = (tokio::spawn(std::future::pending::<()>()), tokio::spawn(async {}));
        health.must_run("the ring", &living);
        health.enter(Stage::Ready);
        assert_eq!((health.alive(), health.ready()), (Ok(()), Ok(())));
        health.must_run("the watch", &ended);
        ended.await.unwrap();
        for answer in [health.alive(), health.ready()] {
            assert_eq!(answer, Err("ended: the watch".to_owned()));
        }
        living.abort();
    }

    #[test]
    fn it_is_ready_between_start_and_stop_alone() {
        let health = Health::default();
        let answer = |stage| {
            health.enter(stage);
            assert_eq!(health.alive(), Ok(()));
            health.ready()
        };
        assert_eq!(health.ready(), Err("starting: loading the programs".to_owned()));
        assert_eq!(answer(Stage::Starting("x")), Err("starting: x".to_owned()));
        assert_eq!(answer(Stage::Ready), Ok(()));
        assert_eq!(answer(Stage::Stopping), Err("stopping".to_owned()));
    }
}

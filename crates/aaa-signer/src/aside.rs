//! Waiting for another thread without keeping the runtime's worker from everybody else.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Does what waits. A worker hands its other tasks on before it does.
pub(crate) fn aside(work: &mut dyn FnMut()) {
    let worker = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if worker {
        block_in_place(work);
    } else {
        work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One worker, and work that another task must go on for: without stepping aside, neither would end.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_a_worker_waits() {
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = tokio::spawn(async move {
            let mut heard = None;
            aside(&mut || heard = told.recv().ok());
            heard
        });
        tokio::spawn(async move { tell.send(1).unwrap() })
            .await
            .unwrap();
        assert_eq!(waiting.await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_is_simply_done() {
        let mut done = false;
        aside(&mut || done = true);
        assert!(done);
    }
}

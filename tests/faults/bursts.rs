//! Bursts of subsegments from several threads, and a SIGKILL right after the last one was finished:
//! every finished document arrives as it was finished.

use serde_json::json;

use crate::rounds::Rounds;
use crate::victim::Victim;

async fn finished_documents_survive(what: &'static str, count: usize, bytes: usize) {
    let mut rounds = Rounds::new(what, 2, 12);
    for number in rounds.numbers() {
        let victim = Victim::start().await;
        let work = json!({ "burst": count, "bytes": bytes, "then": "kill" });
        let outcome = victim.invoke(1, work).await;
        assert!(!outcome.is_response(), "{outcome:?}");
        victim.shutdown().await;
        rounds.struck(&victim);
        let documents = victim.world.sound_documents().await;
        let burst = documents.iter().filter(|document| document.name == "burst");
        let (closed, finished): (Vec<_>, Vec<_>) =
            burst.partition(|document| document.body["fault"] == true);
        let found = (finished.len(), closed.len());
        assert_eq!(
            found,
            (count, 0),
            "{}: finished, closed",
            rounds.name(number)
        );
    }
    rounds.report("");
}

#[tokio::test]
async fn small_burst_survives_a_kill() {
    finished_documents_survive("burst of 20", 20, 10).await;
    finished_documents_survive("burst of 20 with 1 KB", 20, 1000).await;
}

#[tokio::test]
async fn burst_of_100_survives_a_kill() {
    finished_documents_survive("burst of 100", 100, 10).await;
    finished_documents_survive("burst of 100 with 1 KB", 100, 1000).await;
}

#[tokio::test]
async fn burst_of_300_survives_a_kill() {
    finished_documents_survive("burst of 300", 300, 10).await;
    finished_documents_survive("burst of 300 with 1 KB", 300, 1000).await;
}

#[tokio::test]
async fn burst_of_900_survives_a_kill() {
    finished_documents_survive("burst of 900", 900, 10).await;
    finished_documents_survive("burst of 900 with 1 KB", 900, 1000).await;
}

//! The metrics recorder: one a process, rendered for Prometheus.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Renders what was counted.
#[derive(Clone)]
pub struct Telemetry(PrometheusHandle);

impl Telemetry {
    /// The Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }
    /// Tidies up; to be called now and then.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Answers of a callback: Chat gives up after 2 seconds (page `wh-overview`).
const CALLBACK_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
/// From sent to recalled: sub-second when all is well, hours when it is not.
const EXPOSURE_SECONDS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0];
/// Messages in one commit.
const COMMIT_MESSAGES: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// The process's recorder, made at the first call.
#[must_use]
pub fn telemetry() -> Telemetry {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    Telemetry(HANDLE.get_or_init(install).clone())
}

fn install() -> PrometheusHandle {
    let full = |name: &str| Matcher::Full(name.to_owned());
    let recorder = [
        ("quell_callback_seconds", CALLBACK_SECONDS),
        ("quell_store_commit_seconds", CALLBACK_SECONDS),
        ("quell_recall_call_seconds", CALLBACK_SECONDS),
        ("quell_exposure_seconds", EXPOSURE_SECONDS),
        ("quell_exposure_part_seconds", EXPOSURE_SECONDS),
        ("quell_store_commit_messages", COMMIT_MESSAGES),
    ]
    .into_iter()
    .try_fold(PrometheusBuilder::new(), |builder, (name, buckets)| {
        builder.set_buckets_for_metric(full(name), buckets)
    })
    .expect("no list of buckets is empty")
    .build_recorder();
    let handle = recorder.handle();
    // A second recorder in one process could only be a test's, and then the first one counts.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    handle
}

fn describe() {
    describe_histogram!(
        "quell_callback_seconds",
        Unit::Seconds,
        "From a callback's head to its answer"
    );
    describe_histogram!("quell_store_commit_seconds", Unit::Seconds, "A transaction of the writer");
    describe_histogram!("quell_store_commit_messages", "Messages in a transaction");
    describe_histogram!("quell_recall_call_seconds", Unit::Seconds, "A recall call");
    describe_histogram!("quell_exposure_seconds", Unit::Seconds, "From a message sent to recalled");
    describe_histogram!(
        "quell_exposure_part_seconds",
        Unit::Seconds,
        "Parts of it: delivery, queue, call"
    );
    describe_gauge!("quell_visible_violations", "Messages whose recall is not finished");
    describe_gauge!("quell_rule_tripped", "1 for rules that fell to shadow");
    describe_counter!(
        "quell_recall_calls_total",
        "Recall calls, by Chat's code or by what else became of them"
    );
    describe_counter!("quell_recalled_messages_total", "Recall jobs that ended, by state");
    describe_counter!("quell_store_failures_total", "Transactions that failed");
    describe_counter!(
        "quell_store_checkpoint_failures_total",
        "Times that the write-ahead log could not be worked into the database"
    );
    describe_counter!("quell_malformed_requests_total", "Requests that are no HTTP");
    describe_counter!("quell_tls_failures_total", "Connections whose TLS handshake failed");
    describe_gauge!("quell_gaps_open_sequences", "Sequences that wait to be pulled from history");
    describe_gauge!("quell_recall_queue", "Unfinished recall jobs, by state");
    describe_gauge!("quell_recall_halted", "1 while calls stand still");
    describe_gauge!("quell_build_info", "1 for the version that runs");
    // Empty ones are shown from the start, too: what was never seen is no missing metric.
    for histogram in [
        metrics::histogram!("quell_callback_seconds"),
        metrics::histogram!("quell_store_commit_seconds"),
        metrics::histogram!("quell_recall_call_seconds"),
        metrics::histogram!("quell_exposure_seconds"),
    ] {
        drop(histogram);
    }
    metrics::gauge!("quell_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!("quell_recall_halted").set(0.0);
    metrics::counter!("quell_recall_calls_total", "code" => "0").absolute(0);
    metrics::counter!("quell_recalled_messages_total", "result" => "recalled").absolute(0);
    metrics::counter!("quell_store_failures_total").absolute(0);
    metrics::counter!("quell_store_checkpoint_failures_total").absolute(0);
}

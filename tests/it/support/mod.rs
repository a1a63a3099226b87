//! What several behaviours need.

pub(crate) mod daemon;
pub(crate) mod receiver;

use std::sync::Arc;

use quell::chat::client::{CallResult, Client, ClientOptions, Recalled};
use quell::model::{GroupId, MsgSeq, SystemClock};
use quell::sim::{NewMessage, Sim, SimOptions};

pub(crate) const APP_ID: u64 = 1_400_000_001;
pub(crate) const ADMIN: &str = "administrator";
pub(crate) const KEY: &str = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e";

pub(crate) fn sim_options() -> SimOptions {
    SimOptions { unknown_exist: false, ..SimOptions::new(APP_ID, ADMIN, KEY.into()) }
}

/// A provider-like simulation with a group `g`, an audio-video group `av`, a community `c` with
/// the topic `c@TOPIC#_t`.
pub(crate) async fn sim() -> Sim {
    let sim = Sim::start(sim_options()).await.unwrap();
    populate(&sim);
    sim
}

pub(crate) fn populate(sim: &Sim) {
    for (id, group_type) in [("g", "Public"), ("av", "AVChatRoom"), ("c", "Community")] {
        sim.create_group(id, group_type).unwrap();
    }
    sim.create_topic(&"c".into(), "c@TOPIC#_t").unwrap();
}

pub(crate) fn client(sim: &Sim) -> Client {
    client_with(ClientOptions::new(&sim.url(), APP_ID, ADMIN, KEY.into()))
}

pub(crate) fn client_with(options: ClientOptions) -> Client {
    Client::new(options, Arc::new(SystemClock)).unwrap()
}

pub(crate) fn text(group: &str, random: u32, text: &str) -> NewMessage {
    let body = serde_json::json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}]);
    NewMessage {
        group_id: group.into(),
        topic_id: "".into(),
        sender: "ann".into(),
        operator: "ann".into(),
        random,
        online_only: false,
        body: body.to_string().into(),
        cloud_custom_data: String::new(),
    }
}

pub(crate) async fn recall(client: &Client, group: &str, seqs: &[MsgSeq]) -> CallResult<Recalled> {
    client.recall(&GroupId::from(group), &"".into(), seqs, None).await
}

/// `ErrorCode` of the call and `RetCode` of each message.
pub(crate) fn codes(called: &CallResult<Recalled>) -> (i64, Vec<Option<i64>>) {
    let CallResult::Answered(answer) = called else { panic!("no answer: {called:?}") };
    (answer.error_code, answer.value.items.iter().map(|item| item.ret_code).collect())
}

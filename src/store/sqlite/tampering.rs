//! Tests that damage a database by hand, and look into the file.

use std::fmt::Write as _;
use std::time::Duration;

use super::chain::Kind;
use super::connection::Connection;
use super::words::Words;
use super::*;
use crate::model::Timestamp;
use crate::store::contract::{NOW, key, record};
use crate::store::{Audit, By, Chain, Control, Error, Filter, Intake, Retention, Trail, View};

async fn with_messages(search: bool) -> (Sqlite, Options, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { search, ..Options::at(&folder.path().join("quell.db")) };
    let store = open(&options).await.unwrap();
    crate::store::contract::rules(&store).await;
    for seq in 1..=600 {
        store.record(record(key("g", "", seq), &format!("bad {seq}"), seq % 5 == 0)).await.unwrap();
    }
    store.set_paused(&By::new("ada", NOW), true).await.unwrap();
    follow(&store).await;
    (store, options, folder)
}

async fn follow(store: &Sqlite) {
    while store.follow(later()).await.unwrap() {}
}

fn later() -> Timestamp {
    NOW.after(Duration::from_hours(1))
}

#[tokio::test]
async fn whoever_changes_a_row_is_found_out() {
    let (store, options, _folder) = with_messages(false).await;
    let before = store.verify(None, &mut |_| ()).await.unwrap();
    assert_eq!((before.rows, before.links, before.findings.len()), (601, 4, 0));
    let mut hand = open::connect_for_tests(&options).await;
    for (sql, undo, what) in [
        (
            "update messages set verdict = 0 where message_id = 300",
            "update messages set verdict = 2 where message_id = 300",
            "messages 257 to 512: a row was changed",
        ),
        (
            "update messages set text = 'good' where message_id = 7",
            "update messages set text = 'bad 7' where message_id = 7",
            "messages 7: its content was changed",
        ),
        (
            "update hits set rule_id = 'x' where message_id = 5",
            "update hits set rule_id = 'bait' where message_id = 5",
            "messages 1 to 256: a row was changed",
        ),
        (
            "update operations set actor = 'bob'",
            "update operations set actor = 'ada'",
            "operations 1 to 1: a row was changed",
        ),
        (
            "insert into operations values (0, 'a', 'b', '{}', 1)",
            "delete from operations where operation_id = 0",
            "operations",
        ),
        (
            "update chain set row_count = 255 where link_id = 1",
            "update chain set row_count = 256 where link_id = 1",
            "does not follow",
        ),
    ] {
        sqlx::raw_sql(sql).execute(&mut hand).await.unwrap();
        let found = store.verify(None, &mut |_| ()).await.unwrap().findings;
        assert!(found.iter().any(|it| it.what.contains(what)), "{sql}: {found:?}");
        sqlx::raw_sql(undo).execute(&mut hand).await.unwrap();
        assert_eq!(store.verify(None, &mut |_| ()).await.unwrap(), before, "{undo}");
    }
    for (sql, what) in [
        ("delete from messages where message_id = 300", "255 rows where 256 were chained"),
        ("delete from chain where link_id = 2", "links 2 to 2 are gone"),
        ("delete from chain where link_id > 2", ""),
    ] {
        sqlx::raw_sql(sql).execute(&mut hand).await.unwrap();
        let found = store.verify(Some(&before.head), &mut |_| ()).await.unwrap().findings;
        assert!(found.iter().any(|it| it.what.contains(what)), "{sql}: {found:?}");
    }
    // A cut end alone is told by the head that was kept.
    let found = store.verify(Some(&before.head), &mut |_| ()).await.unwrap().findings;
    assert!(found.iter().any(|it| it.what.contains("cut or made anew")), "{found:?}");
}

async fn found(store: &Sqlite, text: &str) -> Vec<String> {
    let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
    let page = store.page(View::Messages, &filter).await.unwrap();
    page.objects().iter().map(|row| row["msg_seq"].to_string()).collect()
}

#[tokio::test]
async fn texts_are_found_whatever_their_script() {
    let (store, _, _folder) = with_messages(true).await;
    for (seq, text) in [
        (1001, "都来加微信领红包啦"),
        (1002, "微信支付付款"),
        (1003, "Free GIFT card"),
        (1004, "ab\"c % _"),
        (1005, "加微 信领"),
    ] {
        store.record(record(key("h", "", seq), text, false)).await.unwrap();
    }
    for round in ["in the index", "behind it"] {
        assert_eq!(found(&store, "加微信").await, ["1001"], "{round}");
        assert_eq!(found(&store, "微信").await, ["1002", "1001"], "{round}");
        assert_eq!(found(&store, "gift CARD").await, ["1003"], "{round}");
        assert_eq!(found(&store, "b\"c").await, ["1004"], "{round}");
        assert_eq!(found(&store, "微").await, ["1005", "1002", "1001"], "{round}");
        assert_eq!(found(&store, "bad 60").await, ["600", "60"], "{round}");
        assert_eq!(found(&store, "nowhere").await, [""; 0], "{round}");
        follow(&store).await;
    }
    let both =
        Filter { text: Some("bad 6".into()), state: Some("recall".into()), ..Filter::default() };
    let page = store.page(View::Messages, &both).await.unwrap();
    assert_eq!(page.rows.len(), 3, "60, 65 and 600 were matched: {page:?}");
    let empty = Filter { text: Some(String::new()), ..Filter::default() };
    assert!(matches!(store.page(View::Messages, &empty).await, Err(Error::Invalid(_))));
    let elsewhere = Filter { text: Some("bad".into()), ..Filter::default() };
    assert!(matches!(store.page(View::Recalls, &elsewhere).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn without_the_index_a_search_says_what_to_do() {
    let (store, _, _folder) = with_messages(false).await;
    let filter = Filter { text: Some("bad".into()), ..Filter::default() };
    let Err(Error::Invalid(why)) = store.page(View::Messages, &filter).await else {
        panic!("it was searched")
    };
    assert!(why.contains("store.search = true"), "{why}");
}

#[tokio::test]
async fn erased_text_is_in_no_index_and_in_no_file() {
    let (store, options, folder) = with_messages(true).await;
    let mut written =
        record(key("h", "", 1), "its digest here holds 16 bytes: Zanzibarquux", false);
    written.message.sender = "eve".into();
    store.record(written).await.unwrap();
    follow(&store).await;
    assert_eq!(found(&store, "zibarq").await, ["1"]);
    let trigram_is_there = async || {
        store.scrub().await.unwrap();
        let bytes = std::fs::read(folder.path().join("quell.db")).unwrap();
        bytes.windows(3).any(|window| window == b"quu" || window == b"arq")
    };
    assert!(trigram_is_there().await);
    store.erase_some(&"eve".into(), 0, 10).await.unwrap();
    assert_eq!(found(&store, "zibarq").await, [""; 0]);
    assert!(!trigram_is_there().await, "the index holds parts of erased text");
    assert_eq!(found(&store, "bad 600").await, ["600"]);
    let mut hand = open::connect_for_tests(&options).await;
    sqlx::query("insert into message_search (message_search) values ('integrity-check')")
        .execute(&mut hand)
        .await
        .unwrap();
    assert_eq!(store.verify(None, &mut |_| ()).await.unwrap().findings, []);
}

/// Rows of each kind with whatever a row may lack, and the links that they always had: a chain that was
/// begun by an older quell must go on to hold.
#[tokio::test]
async fn digests_are_what_they_always_were() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::at(&folder.path().join("quell.db"));
    drop(open(&options).await.unwrap());
    let mut hand = open::connect_for_tests(&options).await;
    let rows = "
        insert into rule_sets values (1, 'v1', 0, '[]'), (2, 'v2', 0, '[]');
        insert into conversations values
            (1, '@TGS#a', '', 0, 'Public', 0, null), (2, '群', 't', 1, 'Community', 0, 5);
        insert into messages values
            (3, 1, 7, 'ann', 10, 11, 0, 0, 0, 1, 'Web', 'hello', null, '', null, x'01'),
            (4, 2, 8, '', 12, 13, 1, 1, 2, 2, '', '红包', '[]', 'c', '{\"a\":1}', x'02'),
            (6, 1, 9, 'bob', -1, 0, 0, 0, 1, 1, 'Web', '', null, '', null, x'03'),
            (7, 99, 10, 'bob', 14, 15, 0, 0, 1, 99, 'Web', 'x', null, '', null, x'04'),
            (8, 1, 11, 'cyd', 16, 17, 0, 0, 0, 1, 'Web', '', '[{}]', '', null, x'05');
        insert into conflicts values
            (1, 4, 'eve', 20, 21, 0, 0, 2, 1, 'Web', 'other', null, 'd', null, x'06'),
            (2, 6, 'eve', 22, 23, 0, 0, 0, 99, 'Web', '', null, '', null, x'07');
        insert into hits (hit_id, message_id, conflict_id, rule_id, mode, severity, start_char,
            end_char, matched_text, judged_at) values
            (5, 4, null, 'bait', 'live', 'high', 0, 2, '红包', 13),
            (1, 4, null, 'link', 'shadow', 'low', 1, 2, '包', 13),
            (2, 4, 1, 'other', 'live', 'high', 0, 5, 'other', 21),
            (3, 5, null, 'of a row that is gone', 'live', 'high', 0, 1, '', 0),
            (4, 8, null, 'bait', 'live', 'high', 0, 1, '', 17);
        insert into calls values
            (1, 2, '[8]', 30, 5, 200, 0, 'answered'), (2, 99, '[1,2]', 31, null, null, null, 'unsent');
        insert into operations values (1, 'ada', 'pause', '{}', 40);";
    sqlx::raw_sql(rows).execute(&mut hand).await.unwrap();
    let connection = Connection::open_to_read(&options.path).unwrap();
    let salts: Vec<u8> = (0..=255).collect();
    let (mut words, mut before) = (Words::default(), Vec::new());
    let mut links = String::new();
    for (kind, range) in [
        (Kind::Messages, (1, 8)),
        (Kind::Conflicts, (1, 1)),
        (Kind::Conflicts, (2, 2)),
        (Kind::Calls, (1, 2)),
        (Kind::Operations, (1, 1)),
        (Kind::Operations, (2, 9)),
    ] {
        let salts = &salts[..kind.salted(range.0, range.1)];
        let covered = chain::cover(&connection, &mut words, kind, range, salts).unwrap();
        let link = chain::link(&before, kind, range, covered, 50);
        // Over all of it: each row, its content's digest, and the link before.
        writeln!(links, "{kind:?} {range:?} {} {}", link.covered.rows, chain::hex(&link.hash))
            .unwrap();
        before = link.hash.to_vec();
    }
    insta::assert_snapshot!(links, @r"
    Messages (1, 8) 5 afdad550eb3a53f8ac4676ff474dc69ad88b077c1772c44b90cc0dac6e8e3c39
    Conflicts (1, 1) 1 86e4e28318e8c96b9942536bcfd47a54e8520de1a6f0c01cf60f5839261d7f3f
    Conflicts (2, 2) 1 c19794a4fa505a012baeae5eb961fd9101891a39848aadc403abaeaccfb520ee
    Calls (1, 2) 2 1c4c1f965dd583b50add2113885817830b429f5386dc5d33af1d09bdd654f559
    Operations (1, 1) 1 dc599ebbb34337da93ca509ef4ee48d98df65d53cb3a9e559ee8a19effde245e
    Operations (2, 9) 0 4be71556d6e2fba7b65bbc1c3fdcd485d6da887cb4bb79be806770f9ed56c5e3
    ");
}

//! A database that grew for a month: some groups and senders far busier than others, a few messages in
//! a hundred matched, nearly all of these recalled.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use quell::model::{Clock, SystemClock};
use quell::store::Trail;
use quell::store::sqlite::{self, Options};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

const HARMLESS: &str = include_str!("../../src/sim/traffic/harmless.txt");
const VIOLATING: &str = include_str!("../../src/sim/traffic/violating.txt");
const GROUPS: u64 = 5_000;
const SENDERS: u64 = 200_000;
const RULES: [&str; 5] = ["contact-bait", "gambling", "link-spam", "shouting", "tried-out"];
const MONTH_MS: i64 = 30 * 24 * 3_600_000;
/// Rows a transaction.
const AT_ONCE: u64 = 50_000;
/// Rows a statement.
const ROWS: usize = 100;

/// Rows of one table that wait to be inserted. Text is quoted as SQL, so that a statement is one string.
struct Rows {
    head: &'static str,
    values: Vec<String>,
}

impl Rows {
    fn new(head: &'static str) -> Self {
        Self { head, values: Vec::new() }
    }
    async fn write(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        for chunk in self.values.chunks(ROWS) {
            let sql = format!("insert into {} values {}", self.head, chunk.join(","));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
        }
        self.values.clear();
        Ok(())
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    /// Of so many, small numbers far more often than large ones.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among thousands"
    )]
    fn ranked(&mut self, end: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((end as f64 * share * share * share) as u64).min(end - 1)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn lines(text: &'static str) -> Vec<&'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// What is being filled in.
struct Tables {
    messages: Rows,
    hits: Rows,
    jobs: Rows,
    calls: Rows,
    gaps: Rows,
    others: Vec<Rows>,
}

impl Tables {
    fn new() -> Self {
        Self {
            messages: Rows::new(
                "messages (message_id, conversation_id, msg_seq, sender, sent_at, received_at,
                 online_only, source, verdict, rule_set_id, platform, text, body, cloud_custom_data,
                 detail, content_hash)",
            ),
            hits: Rows::new(
                "hits (message_id, conflict_id, conversation_id, sender, rule_id, mode, severity,
                 start_char, end_char, matched_text, judged_at)",
            ),
            jobs: Rows::new(
                "recall_jobs (job_id, conversation_id, msg_seq, message_id, sender, state, severity,
                 background, lease, attempts, failures, unclear, due_at, ret_code, reason,
                 requested_by, sent_at, created_at, called_at, finished_at, confirmed_at)",
            ),
            calls: Rows::new(
                "calls (call_id, conversation_id, sequences, started_at, duration_ms, http_status,
                 error_code, outcome)",
            ),
            gaps: Rows::new(
                "gaps (conversation_id, from_seq, to_seq, state, reason, found_at, closed_at,
                 attempts, due_at)",
            ),
            others: vec![
                Rows::new(
                    "reviews (message_id, rule_id, verdict, note, reviewer, at)",
                ),
                Rows::new("operations (actor, act, detail, at)"),
                Rows::new("quarantine (received_at, command, reason, body)"),
                Rows::new(
                    "conflicts (message_id, sender, sent_at, received_at, online_only, source,
                     verdict, rule_set_id, platform, text, body, cloud_custom_data, detail,
                     content_hash)",
                ),
            ],
        }
    }
    async fn write(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        let main =
            [&mut self.messages, &mut self.hits, &mut self.jobs, &mut self.calls, &mut self.gaps];
        for rows in main.into_iter().chain(&mut self.others) {
            rows.write(connection).await?;
        }
        Ok(())
    }
}

/// Where numbering stands.
#[derive(Default)]
struct Numbers {
    job: u64,
    call: u64,
}

/// Makes a database of so many messages.
pub(crate) async fn fill(file: &Path, messages: u64) -> Result<()> {
    ensure!(!file.exists(), "{} is there already", file.display());
    let began = Instant::now();
    sqlite::migrate(&Options::at(file)).await?;
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        // Nothing is lost that could not be made again.
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-1500000")
        .disable_statement_logging()
        .connect()
        .await?;
    let now = SystemClock.now().millis();
    prepare(&mut connection, now).await?;
    let (harmless, violating) = (lines(HARMLESS), lines(VIOLATING));
    let mut sequences = vec![0_u64; usize::try_from(GROUPS)?];
    let (mut dice, mut numbers, mut tables) = (Dice(7), Numbers::default(), Tables::new());
    let pace = MONTH_MS / i64::try_from(messages.max(1))?;
    let mut done = 0;
    while done < messages {
        sqlx::query("begin").execute(&mut connection).await?;
        for n in done..(done + AT_ONCE).min(messages) {
            let at = now - MONTH_MS + pace * i64::try_from(n)?;
            one(
                &mut tables,
                &mut dice,
                &mut numbers,
                &mut sequences,
                n + 1,
                at,
                (&harmless, &violating),
            );
        }
        done = (done + AT_ONCE).min(messages);
        tables.write(&mut connection).await?;
        sqlx::query("commit").execute(&mut connection).await?;
        if done % 1_000_000 == 0 {
            eprintln!("{done} messages, {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    // Else whoever opens it next would have to remember the keys of all messages, and to look through all
    // of them for gaps: as if a daemon had never kept this database.
    let keys = "insert into message_keys (conversation_id, msg_seq, message_id)
        select conversation_id, msg_seq, message_id from messages order by conversation_id, msg_seq";
    let filed = "insert or replace into meta (name, value)
        select name.column1, (select max(message_id) from messages)
        from (values ('keys_filed_through'), ('gaps_checkpoint')) as name";
    for sql in [keys, filed, "analyze", "pragma wal_checkpoint(truncate)"] {
        sqlx::query(sql).execute(&mut connection).await?;
    }
    connection.close().await?;
    eprintln!("filled: {}", memory());
    follow(file, messages).await?;
    let mib = std::fs::metadata(file)?.len() / 1024 / 1024;
    eprintln!("{messages} messages, {mib} MiB, {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Has the chain and the indexes built that a daemon builds behind its writer.
async fn follow(file: &Path, messages: u64) -> Result<()> {
    let store = sqlite::open(&Options::at(file)).await?;
    let began = Instant::now();
    while store.follow(SystemClock.now()).await? {}
    let took = began.elapsed();
    store.close().await;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let each = took.as_secs_f64() * 1e6 / messages.max(1) as f64;
    eprintln!("chain: {:.1} s, {each:.2} us a message; {}", took.as_secs_f64(), memory());
    Ok(())
}

/// What the process holds now, and held at most: filling takes a large cache, following does not.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("unknown", str::trim).to_owned()
    };
    format!("resident {}, at most {}", line("VmRSS:"), line("VmHWM:"))
}

async fn prepare(connection: &mut SqliteConnection, now: i64) -> Result<()> {
    let rules: Vec<_> = RULES.iter().map(|id| format!("{{\"id\":\"{id}\"}}")).collect();
    let sql = format!(
        "insert into rule_sets (version, loaded_at, rules) values ('made-up', {}, '[{}]')",
        now - MONTH_MS,
        rules.join(",")
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    let mut values = String::new();
    for n in 0..GROUPS {
        // A tenth are topics of a hundred communities.
        let (group, topic, kind) = if n % 10 == 9 {
            (format!("@TGS#c{}", n / 10 % 100), format!("topic{n}"), "Community")
        } else if n % 50 == 3 {
            (format!("@TGS#{n}"), String::new(), "AVChatRoom")
        } else {
            (format!("@TGS#{n}"), String::new(), "Public")
        };
        let comma = if n == 0 { "" } else { "," };
        write!(
            values,
            "{comma}({}, '{group}', '{topic}', 0, '{kind}', {}, null)",
            n + 1,
            now - MONTH_MS
        )?;
    }
    let sql = format!("insert into conversations values {values}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// A message with what followed from it.
fn one(
    tables: &mut Tables,
    dice: &mut Dice,
    numbers: &mut Numbers,
    sequences: &mut [u64],
    id: u64,
    at: i64,
    (harmless, violating): (&[&'static str], &[&'static str]),
) {
    let conversation = dice.ranked(GROUPS) + 1;
    let place = usize::try_from(conversation - 1).unwrap_or(0);
    sequences[place] += 1;
    let missed = dice.below(500) == 0;
    if missed {
        let seq = sequences[place];
        sequences[place] += 1;
        let (state, reason) = match dice.below(20) {
            0 => ("unrepairable", "'AVChatRoom has no history'"),
            1..5 => ("legitimate", "'a tip'"),
            _ => ("filled", "null"),
        };
        tables.gaps.values.push(format!(
            "({conversation},{seq},{seq},'{state}',{reason},{at},{},0,{at})",
            at + 2_500
        ));
    }
    let seq = sequences[place];
    let sender = format!("user{}", dice.ranked(SENDERS));
    // 2 in 100 are recalled, 1 flagged, 1 hit in shadow.
    let fate = dice.below(100);
    let verdict = match fate {
        0 | 1 => 2,
        2 => 1,
        _ => 0,
    };
    let list = if fate < 4 { violating } else { harmless };
    let text = list[usize::try_from(dice.below(list.len() as u64)).unwrap_or(0)];
    let text = quoted(&format!("{text} {}", dice.below(100_000)));
    let (sent, source) = (at - 40, u8::from(missed));
    tables.messages.values.push(format!(
        "({id},{conversation},{seq},'{sender}',{sent},{at},0,{source},{verdict},1,'Android',{text},\
         null,'',null,x'{id:032x}')"
    ));
    let rule = RULES[usize::try_from(match fate {
        0 | 1 => dice.ranked(3),
        2 => 3,
        _ => 4,
    })
    .unwrap_or(0)];
    if fate < 4 {
        let mode = if fate == 3 { "shadow" } else { "live" };
        tables.hits.values.push(format!(
            "({id},null,{conversation},'{sender}','{rule}','{mode}','high',0,4,\
             substr({text},1,4),{at})"
        ));
    }
    if verdict == 2 {
        recall(tables, dice, numbers, (conversation, seq, id), &sender, rule, at);
    }
    let other =
        |tables: &mut Tables, which: usize, row: String| tables.others[which].values.push(row);
    if fate < 4 && dice.below(20) == 0 {
        let word = if dice.below(8) == 0 { "wrong" } else { "right" };
        other(tables, 0, format!("({id},'{rule}','{word}','','ada',{})", at + 60_000));
        let detail = format!("'{{\"messages\":[{id}],\"verdict\":\"{word}\"}}'");
        other(tables, 1, format!("('ada','review',{detail},{})", at + 60_000));
    }
    if dice.below(20_000) == 0 {
        other(tables, 1, format!("('bob','pause','{{}}',{at})"));
        other(tables, 2, format!("({at},'Group.CallbackAfterSendMsg','no MsgSeq',x'7b7d')"));
        other(
            tables,
            3,
            format!(
                "({id},'{sender}',{sent},{at},0,0,0,1,'Android','other words',null,'',null,x'{id:032x}')"
            ),
        );
    }
}

/// The recall of a message, and the call that was made for it.
fn recall(
    tables: &mut Tables,
    dice: &mut Dice,
    numbers: &mut Numbers,
    (conversation, seq, message): (u64, u64, u64),
    sender: &str,
    rule: &str,
    at: i64,
) {
    numbers.job += 1;
    numbers.call += 1;
    let (job, call) = (numbers.job, numbers.call);
    let call_ms = 20 + i64::try_from(dice.below(80)).unwrap_or(0);
    let called = at + 3;
    let end = called + call_ms;
    let (state, code, reason, done) = match dice.below(1000) {
        0..10 => ("gone", "10030", "'recalled by somebody else'", true),
        10..20 => ("refused", "10031", "'too old'", true),
        20..25 => ("dead", "10004", "'retries used up'", true),
        25 => ("held", "null", "'rule tripped'", false),
        26 => ("cancelled", "null", "'cancelled by ada'", true),
        _ => ("recalled", "0", "null", true),
    };
    let finished = if done { end.to_string() } else { "null".to_owned() };
    tables.jobs.values.push(format!(
        "({job},{conversation},{seq},{message},'{sender}','{state}',2,0,1,1,0,0,{at},{code},{reason},\
         'rule:{rule}',{},{at},{called},{finished},{finished})",
        at - 40
    ));
    let outcome = match dice.below(1000) {
        0 => "failed",
        1 => "unclear",
        _ => "answered",
    };
    tables
        .calls
        .values
        .push(format!("({call},{conversation},'[{seq}]',{called},{call_ms},200,0,'{outcome}')"));
}

//! What the simulated Chat holds: groups, topics, messages. Plain rules over plain data, no I/O.
//!
//! Sequences are dense and counted for each conversation (a group, or a topic of it), as at the
//! provider. Codes are those of `chat::error`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{GroupId, MessageKey, MsgSeq, Timestamp, TopicId, UserId};

/// An `ErrorCode` or `RetCode`.
pub(super) type Code = i64;

/// A recall in an audio-video group works this long (page `recall`).
const AV_CHAT_ROOM_RECALL: Duration = Duration::from_hours(1);
/// All types together, in a group, a second; more is dropped (page `limits`).
const GROUP_MESSAGES_PER_SECOND: usize = 40;
/// The same content with the same `Random` is one message (page `send-msg`).
const DUPLICATE_WINDOW: Duration = Duration::from_mins(5);
/// The sweep by sender looks this far back.
const BY_SENDER_DEPTH: usize = 1000;
/// Custom ids may have this many bytes (page `errors`, at 8501).
const MAX_GROUP_ID_BYTES: usize = 48;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub sender: UserId,
    /// Who makes the request; the sender, where a client sends.
    pub operator: UserId,
    pub random: u32,
    pub online_only: bool,
    /// `MsgBody` as JSON text.
    pub body: Arc<str>,
    pub cloud_custom_data: String,
}

/// A message as the simulated Chat keeps it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub sender: UserId,
    pub sent_at: Timestamp,
    pub random: u32,
    pub online_only: bool,
    /// `MsgBody` as JSON text; an object where the entry is a system one.
    pub body: Arc<str>,
    pub cloud_custom_data: String,
    pub state: Kept,
}

/// What became of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Visible,
    Recalled,
    /// Deleted or expired: a hole in history.
    Hole,
    /// A tip; nobody sent it.
    System,
}

/// A message that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recall {
    pub key: MessageKey,
    pub at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    next_seq: MsgSeq,
    entries: BTreeMap<MsgSeq, Stored>,
    /// Recalled without ever having been seen here.
    unseen_recalled: HashSet<MsgSeq>,
    recent: VecDeque<(Timestamp, u32, Arc<str>, MsgSeq)>,
}

#[derive(Debug)]
pub(super) struct Group {
    /// Its type, such as `Public`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) members: Vec<UserId>,
    pub(super) muted: HashMap<(TopicId, UserId), Timestamp>,
    topics: HashSet<TopicId>,
    conversations: HashMap<TopicId, Conversation>,
    sent: VecDeque<Timestamp>,
}

#[derive(Debug)]
pub(super) struct World {
    unknown_exist: bool,
    roaming: Duration,
    max_kept: usize,
    groups: HashMap<GroupId, Group>,
    kept: VecDeque<MessageKey>,
    recalled: Vec<Recall>,
    made: u64,
}

impl Group {
    fn new(group_type: &str) -> Self {
        Self {
            kind: group_type.to_owned(),
            name: String::new(),
            owner: String::new(),
            members: Vec::new(),
            muted: HashMap::new(),
            topics: HashSet::new(),
            conversations: HashMap::new(),
            sent: VecDeque::new(),
        }
    }
    pub(super) fn is_av_chat_room(&self) -> bool {
        self.kind == "AVChatRoom"
    }
    /// The sequence that the next message of the group itself gets.
    pub(super) fn next_seq(&self) -> MsgSeq {
        self.conversations.get(&TopicId::default()).map_or(1, |talk| talk.next_seq.max(1))
    }
}

impl World {
    pub(super) fn new(unknown_exist: bool, roaming: Duration, max_kept: usize) -> Self {
        Self {
            unknown_exist,
            roaming,
            max_kept,
            groups: HashMap::new(),
            kept: VecDeque::new(),
            recalled: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn recalled(&self) -> &[Recall] {
        &self.recalled
    }

    /// Every message that is kept, in no order.
    pub(super) fn messages(&self) -> impl Iterator<Item = (MessageKey, &Stored)> {
        self.groups.iter().flat_map(|(group_id, group)| {
            group.conversations.iter().flat_map(move |(topic_id, talk)| {
                talk.entries.iter().map(move |(&msg_seq, stored)| {
                    let (group_id, topic_id) = (group_id.clone(), topic_id.clone());
                    (MessageKey { group_id, topic_id, msg_seq }, stored)
                })
            })
        })
    }

    /// A group's type, where there is such a group.
    pub(super) fn type_of(&self, id: &GroupId) -> Option<&str> {
        self.groups.get(id).map(|group| group.kind.as_str())
    }

    /// A group as it is, made up where unknown ones are taken to exist.
    pub(super) fn group(&mut self, id: &GroupId) -> Result<&mut Group, Code> {
        if !is_group_id(id.as_str()) {
            return Err(10_015);
        }
        if self.unknown_exist {
            return Ok(self.groups.entry(id.clone()).or_insert_with(|| Group::new("Public")));
        }
        self.groups.get_mut(id).ok_or(10_010)
    }

    /// A group and one of its conversations.
    fn talk(&mut self, id: &GroupId, topic: &TopicId) -> Result<(&mut Group, TopicId), Code> {
        let unknown_exist = self.unknown_exist;
        let group = self.group(id)?;
        if topic.is_empty() || unknown_exist || group.topics.contains(topic) {
            group.conversations.entry(topic.clone()).or_default();
            Ok((group, topic.clone()))
        } else {
            Err(110_013)
        }
    }

    pub(super) fn create_group(
        &mut self,
        id: Option<&str>,
        group_type: &str,
        owner: &str,
        name: &str,
    ) -> Result<GroupId, Code> {
        let id = match id {
            Some(id) if !is_group_id(id) || id.starts_with("@TGS#") => return Err(10_015),
            Some(id) => GroupId::from(id),
            None => {
                self.made += 1;
                let prefix = if group_type == "Community" { "@TGS#_@TGS#c" } else { "@TGS#2" };
                format!("{prefix}SIM{:05}", self.made).into()
            }
        };
        let group = self.adopt_group(&id, group_type)?;
        owner.clone_into(&mut group.owner);
        name.clone_into(&mut group.name);
        if !owner.is_empty() {
            group.members.push(owner.into());
        }
        Ok(id)
    }

    /// Makes a group under an id of any form, those that Chat gives out itself included.
    pub(super) fn adopt_group(
        &mut self,
        id: &GroupId,
        group_type: &str,
    ) -> Result<&mut Group, Code> {
        if !is_group_id(id.as_str()) {
            return Err(10_015);
        }
        match self.groups.entry(id.clone()) {
            // 10021: the id is taken (page `errors`).
            Entry::Occupied(_) => Err(10_021),
            Entry::Vacant(free) => Ok(free.insert(Group::new(group_type))),
        }
    }

    pub(super) fn destroy_group(&mut self, id: &GroupId) -> Result<Group, Code> {
        self.group(id)?;
        self.groups.remove(id).ok_or(10_010)
    }

    pub(super) fn create_topic(
        &mut self,
        id: &GroupId,
        topic: Option<&str>,
    ) -> Result<TopicId, Code> {
        self.made += 1;
        let made = self.made;
        let group = self.group(id)?;
        if group.kind != "Community" {
            return Err(10_007);
        }
        let topic = topic.map_or_else(|| format!("{id}@TOPIC#_SIM{made:05}"), str::to_owned);
        let topic = TopicId::from(topic);
        group.topics.insert(topic.clone());
        Ok(topic)
    }

    pub(super) fn destroy_topics(&mut self, id: &GroupId, topics: &[TopicId]) -> Result<(), Code> {
        let group = self.group(id)?;
        for topic in topics {
            group.topics.remove(topic);
            group.conversations.remove(topic);
        }
        Ok(())
    }

    /// Gives a message its sequence and keeps it. A repeated send answers with the first sequence
    /// and `false`.
    pub(super) fn send(
        &mut self,
        new: &NewMessage,
        now: Timestamp,
    ) -> Result<(MsgSeq, bool), Code> {
        let (group, topic) = self.talk(&new.group_id, &new.topic_id)?;
        let muted = group.muted.get(&(topic.clone(), new.sender.clone()));
        if muted.is_some_and(|until| *until > now) {
            return Err(10_017);
        }
        let talk = group.conversations.entry(topic).or_default();
        while talk.recent.front().is_some_and(|(at, ..)| now.since(*at) >= DUPLICATE_WINDOW) {
            talk.recent.pop_front();
        }
        let again = talk
            .recent
            .iter()
            .find(|(_, random, body, _)| *random == new.random && *body == new.body);
        if let Some((.., seq)) = again {
            return Ok((*seq, false));
        }
        while group.sent.front().is_some_and(|at| now.since(*at) >= Duration::from_secs(1)) {
            group.sent.pop_front();
        }
        if group.sent.len() >= GROUP_MESSAGES_PER_SECOND {
            return Err(10_023);
        }
        group.sent.push_back(now);
        let seq = self.append(new, now)?;
        if let Ok((group, topic)) = self.talk(&new.group_id, &new.topic_id) {
            let talk = group.conversations.entry(topic).or_default();
            talk.recent.push_back((now, new.random, new.body.clone(), seq));
        }
        Ok((seq, true))
    }

    /// Keeps a message without asking whether it may be sent: traffic has its own measure.
    pub(super) fn append(&mut self, new: &NewMessage, now: Timestamp) -> Result<MsgSeq, Code> {
        let stored = Stored {
            sender: new.sender.clone(),
            sent_at: now,
            random: new.random,
            online_only: new.online_only,
            body: new.body.clone(),
            cloud_custom_data: new.cloud_custom_data.clone(),
            state: Kept::Visible,
        };
        self.keep(&new.group_id, &new.topic_id, stored)
    }

    /// Adds a tip to a conversation. It takes a sequence.
    pub(super) fn append_tip(
        &mut self,
        id: &GroupId,
        topic: &TopicId,
        body: &str,
        now: Timestamp,
    ) -> Result<MsgSeq, Code> {
        let stored = Stored {
            sender: UserId::default(),
            sent_at: now,
            random: 0,
            online_only: false,
            body: body.into(),
            cloud_custom_data: String::new(),
            state: Kept::System,
        };
        self.keep(id, topic, stored)
    }

    fn keep(&mut self, id: &GroupId, topic: &TopicId, stored: Stored) -> Result<MsgSeq, Code> {
        let (group, topic_id) = self.talk(id, topic)?;
        let talk = group.conversations.entry(topic_id.clone()).or_default();
        let msg_seq = talk.next_seq.max(1);
        talk.next_seq = msg_seq + 1;
        talk.entries.insert(msg_seq, stored);
        self.kept.push_back(MessageKey { group_id: id.clone(), topic_id, msg_seq });
        if self.kept.len() > self.max_kept
            && let Some(oldest) = self.kept.pop_front()
            && let Some(group) = self.groups.get_mut(&oldest.group_id)
            && let Some(talk) = group.conversations.get_mut(&oldest.topic_id)
        {
            talk.entries.remove(&oldest.msg_seq);
        }
        Ok(msg_seq)
    }

    /// Takes messages back; the code of each, or one for the whole call.
    pub(super) fn recall(
        &mut self,
        id: &GroupId,
        topic: &TopicId,
        seqs: &[MsgSeq],
        now: Timestamp,
    ) -> Result<Vec<(MsgSeq, Code)>, Code> {
        let (unknown_exist, roaming) = (self.unknown_exist, self.roaming);
        let (group, topic_id) = self.talk(id, topic)?;
        let av_chat_room = group.is_av_chat_room();
        let talk = group.conversations.entry(topic_id.clone()).or_default();
        let mut results = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            let code = match talk.entries.get_mut(&seq) {
                Some(stored) => recall_stored(stored, av_chat_room, roaming, now),
                None if unknown_exist && talk.unseen_recalled.insert(seq) => 0,
                None => 10_030,
            };
            results.push((seq, code));
        }
        for (msg_seq, _) in results.iter().filter(|(_, code)| *code == 0) {
            let key =
                MessageKey { group_id: id.clone(), topic_id: topic_id.clone(), msg_seq: *msg_seq };
            self.recalled.push(Recall { key, at: now });
        }
        Ok(results)
    }

    /// Marks a sender's messages among the newest as recalled, without a word to anybody. Has no
    /// effect in an audio-video group, and says so to nobody either.
    /// A member takes a message back: no administrator's recall.
    pub(super) fn take_back(&mut self, id: &GroupId, seq: MsgSeq) {
        if let Some(stored) = self.entry(id, seq) {
            stored.state = Kept::Recalled;
        }
    }

    /// A message's body becomes another, as it does when its sender edits it.
    pub(super) fn edit(&mut self, id: &GroupId, seq: MsgSeq, body: &str) {
        if let Some(stored) = self.entry(id, seq) {
            stored.body = body.into();
        }
    }

    fn entry(&mut self, id: &GroupId, seq: MsgSeq) -> Option<&mut Stored> {
        let talk = self.groups.get_mut(id)?.conversations.get_mut(&TopicId::default())?;
        talk.entries.get_mut(&seq)
    }

    pub(super) fn recall_by_sender(
        &mut self,
        id: &GroupId,
        topic: &TopicId,
        sender: &UserId,
    ) -> Result<(), Code> {
        let (group, topic) = self.talk(id, topic)?;
        if !group.is_av_chat_room() {
            let talk = group.conversations.entry(topic).or_default();
            let newest = talk.entries.values_mut().rev().take(BY_SENDER_DEPTH);
            for stored in newest.filter(|stored| stored.sender == *sender) {
                if stored.state == Kept::Visible {
                    stored.state = Kept::Recalled;
                }
            }
        }
        Ok(())
    }

    /// The newest entries from a sequence down, and whether older ones remain.
    pub(super) fn history(
        &mut self,
        id: &GroupId,
        topic: &TopicId,
        from: Option<MsgSeq>,
        count: usize,
        now: Timestamp,
    ) -> Result<(Vec<(MsgSeq, Stored)>, bool), Code> {
        let roaming = self.roaming;
        let (group, topic) = self.talk(id, topic)?;
        if group.is_av_chat_room() {
            return Err(10_044);
        }
        let talk = group.conversations.entry(topic).or_default();
        let newest = talk.next_seq.saturating_sub(1);
        let from = from.filter(|from| *from > 0).unwrap_or(newest).min(newest);
        let seqs = (1..=from).rev().take(count);
        let entries: Vec<_> = seqs.map(|seq| (seq, talk.shown(seq, roaming, now))).collect();
        let more = entries.last().is_some_and(|(seq, _)| *seq > 1);
        Ok((entries, more))
    }
}

impl Conversation {
    /// What history shows under a sequence that was given out: expired, online-only and dropped
    /// messages leave a hole.
    fn shown(&self, seq: MsgSeq, roaming: Duration, now: Timestamp) -> Stored {
        let hole = || Stored {
            sender: UserId::default(),
            sent_at: Timestamp::default(),
            random: 0,
            online_only: false,
            body: "[]".into(),
            cloud_custom_data: String::new(),
            state: Kept::Hole,
        };
        match self.entries.get(&seq) {
            Some(stored) if !stored.online_only && now.since(stored.sent_at) <= roaming => {
                stored.clone()
            }
            _ => hole(),
        }
    }
}

fn recall_stored(stored: &mut Stored, av: bool, roaming: Duration, now: Timestamp) -> Code {
    let age = now.since(stored.sent_at);
    match stored.state {
        Kept::Recalled | Kept::Hole => 10_030,
        Kept::System => 10_032,
        Kept::Visible if stored.online_only => 10_032,
        Kept::Visible if av && age > AV_CHAT_ROOM_RECALL => 10_031,
        Kept::Visible if age > roaming => 10_030,
        Kept::Visible => {
            stored.state = Kept::Recalled;
            0
        }
    }
}

fn is_group_id(id: &str) -> bool {
    let printable = id.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    !id.is_empty() && id.len() <= MAX_GROUP_ID_BYTES && printable
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn world() -> World {
        let mut world = World::new(false, HOUR * 24 * 7, 1000);
        for (id, group_type) in [("g", "Public"), ("av", "AVChatRoom"), ("c", "Community")] {
            world.create_group(Some(id), group_type, "owner", "").unwrap();
        }
        world
    }

    fn message(group: &str, random: u32) -> NewMessage {
        NewMessage {
            group_id: group.into(),
            topic_id: "".into(),
            sender: "ann".into(),
            operator: "ann".into(),
            random,
            online_only: false,
            body: "[]".into(),
            cloud_custom_data: String::new(),
        }
    }

    #[test]
    fn a_message_is_recalled_once() {
        let mut world = world();
        let now = Timestamp(1_000_000);
        let (seq, _) = world.send(&message("g", 1), now).unwrap();
        assert_eq!(world.send(&message("g", 1), now), Ok((seq, false)), "sent twice");
        let mut recall = |seqs: &[MsgSeq]| world.recall(&"g".into(), &"".into(), seqs, now);
        assert_eq!(recall(&[seq, 7]), Ok(vec![(seq, 0), (7, 10_030)]));
        assert_eq!(recall(&[seq]), Ok(vec![(seq, 10_030)]));
    }

    #[test]
    fn what_cannot_be_recalled_says_why() {
        let mut world = world();
        let (sent, later) = (Timestamp(0), Timestamp(0).after(HOUR + Duration::from_secs(1)));
        let online_only = NewMessage { online_only: true, ..message("g", 1) };
        world.append(&online_only, sent).unwrap();
        world.append_tip(&"g".into(), &"".into(), "{}", sent).unwrap();
        world.append(&message("g", 2), sent).unwrap();
        world.append(&message("av", 1), sent).unwrap();
        let codes = |world: &mut World, group: &str, seqs: &[MsgSeq], now| {
            let results = world.recall(&group.into(), &"".into(), seqs, now);
            results.map(|all| all.into_iter().map(|(_, code)| code).collect::<Vec<_>>())
        };
        assert_eq!(codes(&mut world, "g", &[1, 2], sent), Ok(vec![10_032, 10_032]));
        assert_eq!(codes(&mut world, "av", &[1], later), Ok(vec![10_031]));
        assert_eq!(codes(&mut world, "g", &[3], sent.after(HOUR * 24 * 8)), Ok(vec![10_030]));
        assert_eq!(codes(&mut world, "gone", &[1], sent), Err(10_010));
        assert_eq!(codes(&mut world, "gröup", &[1], sent), Err(10_015));
        assert_eq!(world.recall(&"c".into(), &"t".into(), &[1], sent), Err(110_013));
    }

    #[test]
    fn topics_count_for_themselves_and_a_new_group_starts_over() {
        let mut world = world();
        let topic = world.create_topic(&"c".into(), Some("c@TOPIC#_t")).unwrap();
        let in_topic = NewMessage { topic_id: topic, ..message("c", 1) };
        assert_eq!(world.append(&message("c", 1), Timestamp(0)), Ok(1));
        assert_eq!(world.append(&in_topic, Timestamp(0)), Ok(1));
        assert_eq!(world.append(&in_topic, Timestamp(0)), Ok(2));
        world.destroy_group(&"c".into()).unwrap();
        assert_eq!(world.append(&message("c", 1), Timestamp(0)), Err(10_010));
        world.create_group(Some("c"), "Public", "", "").unwrap();
        assert_eq!(world.append(&message("c", 1), Timestamp(0)), Ok(1));
    }

    #[test]
    fn a_group_takes_40_messages_a_second() {
        let mut world = world();
        let sent: Vec<_> =
            (0..41).map(|n| world.send(&message("g", n), Timestamp(500)).is_ok()).collect();
        assert_eq!(sent.iter().filter(|sent| **sent).count(), 40);
        assert!(world.send(&message("g", 99), Timestamp(1500)).is_ok());
    }

    #[test]
    fn history_goes_down_and_shows_holes() {
        let mut world = world();
        for n in 1..=25 {
            let online_only = n == 24;
            world.append(&NewMessage { online_only, ..message("g", n) }, Timestamp(0)).unwrap();
        }
        world.recall(&"g".into(), &"".into(), &[23], Timestamp(0)).unwrap();
        let mut history = |from| world.history(&"g".into(), &"".into(), from, 3, Timestamp(0));
        let (newest, more) = history(None).unwrap();
        let states: Vec<_> = newest.iter().map(|(seq, stored)| (*seq, stored.state)).collect();
        assert_eq!(states, [(25, Kept::Visible), (24, Kept::Hole), (23, Kept::Recalled)]);
        assert!(more);
        let (oldest, more) = history(Some(2)).unwrap();
        assert_eq!((oldest.len(), more), (2, false));
        assert_eq!(
            world.history(&"av".into(), &"".into(), None, 3, Timestamp(0)).err(),
            Some(10_044)
        );
    }

    #[test]
    fn the_oldest_messages_make_room() {
        let mut world = World::new(false, HOUR, 10);
        world.create_group(Some("g"), "Public", "", "").unwrap();
        for n in 1..=25 {
            world.append(&message("g", n), Timestamp(0)).unwrap();
        }
        assert_eq!(world.messages().count(), 10);
    }
}

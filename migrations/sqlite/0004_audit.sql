-- What auditors ask for that the tables do not say by themselves.

-- A message with its verdict and the rules that led to it, live ones first.
create view v_verdicts as
select
    c.group_id as group_id,
    c.topic_id as topic_id,
    m.msg_seq as msg_seq,
    m.sender as sender,
    case m.verdict when 0 then 'pass' when 1 then 'flag' else 'recall' end as verdict,
    (select json_group_array(distinct h.rule_id) from hits h
        where h.message_id = m.message_id and h.mode = 'live') as rules,
    (select json_group_array(distinct h.rule_id) from hits h
        where h.message_id = m.message_id and h.mode = 'shadow') as shadow_rules,
    r.version as rules_version,
    m.received_at as judged_at,
    strftime('%Y-%m-%dT%H:%M:%S', m.received_at / 1000, 'unixepoch')
        || printf('.%03dZ', m.received_at % 1000) as judged_at_iso,
    m.message_id as message_id
from messages m
join conversations c on c.conversation_id = m.conversation_id
left join rule_sets r on r.rule_set_id = m.rule_set_id;

pragma user_version = 4;

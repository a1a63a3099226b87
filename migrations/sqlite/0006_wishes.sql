-- What an operator wanted of a job that was in a call at that moment.

-- held or cancelled: what becomes of it instead of another try; null: nothing was said.
alter table recall_jobs add column wish text;
-- Who said so.
alter table recall_jobs add column wished_by text;

pragma user_version = 6;

//! One binary for all behaviour tests: a file a behaviour.

mod chat_client;

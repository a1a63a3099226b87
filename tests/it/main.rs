//! One binary for all behaviour tests: a file a behaviour.

mod chat_client;
mod sim_callbacks;
mod sim_faults;
mod sim_rest;
mod support;

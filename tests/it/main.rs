//! One binary for all behaviour tests: a file a behaviour.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod callback_listener;
mod chat_client;
mod figures;
mod main_path;
mod operating;
mod process;
mod proofs;
mod scheduling;
mod sim_callbacks;
mod sim_faults;
mod sim_rest;
mod sim_traffic;
mod support;

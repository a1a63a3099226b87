//! One binary for all behaviour tests: a file a behaviour.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod allowances;
mod api;
mod backtest;
mod bad_inputs;
mod by_sql;
mod callback_listener;
mod chat_client;
mod dashboard;
mod disk;
mod events;
#[cfg(feature = "fail")]
mod faults;
mod letting_go;
mod main_path;
mod notifying;
mod one_verdict;
mod operating;
mod process;
mod proved;
mod reader_properties;
mod repair;
mod reviews;
mod rules_cases;
mod rules_engine;
mod rules_files;
mod rules_mistakes;
mod scheduling;
mod secrets;
mod service;
mod sim_callbacks;
mod sim_faults;
mod sim_rest;
mod sim_traffic;
mod stepped_clock;
mod support;
mod sweeps;
mod text_properties;
mod tls;
mod usage;
mod verdicts;

//! The daemon without a kernel: settings, exposition, HTTP, reload.

mod config;
mod crowds;
mod exposition;
mod fake;
mod http;
#[path = "../kernel/quiet.rs"]
mod quiet;
mod work;

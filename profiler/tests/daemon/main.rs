//! The daemon without a kernel: settings, exposition, HTTP, reload.

mod config;
mod crowds;
mod decoder;
mod exposition;
mod fake;
mod formats;
mod http;
mod negotiated;
#[path = "../kernel/quiet.rs"]
mod quiet;
#[cfg(feature = "tls")]
mod web;
mod work;

//! The web configuration file: what is accepted, and what a client then sees.

mod certificates;
mod client;
mod crowds;
mod files;
mod reload;
mod tls;

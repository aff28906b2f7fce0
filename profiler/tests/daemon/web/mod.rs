//! The web configuration file: valid files, and their effect on clients.

mod certificates;
mod client;
mod crowds;
mod files;
mod reload;
mod tls;

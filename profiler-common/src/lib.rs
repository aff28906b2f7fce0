//! What both sides of `profiler` have to agree on: the layout of every map
//! value ([`wire`]), the capacities and names ([`limits`]), how a call is keyed
//! ([`call`]) and how a latency finds its bucket ([`hist`]).
//!
//! `no_std`, so that the eBPF object and the daemon compile the same source.
#![no_std]

pub mod arch;
pub mod arena;
pub mod call;
pub mod hist;
pub mod identity;
pub mod limits;
pub mod maps;
pub mod sampling;
pub mod settings;
pub mod share;
pub mod signals;
pub mod wire;

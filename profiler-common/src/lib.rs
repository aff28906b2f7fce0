//! What both sides of `profiler` have to agree on: the layout of every map
//! value ([`wire`]), the capacities and names ([`limits`]), how a call is keyed
//! ([`call`]) and how a latency finds its bucket ([`hist`]).
//!
//! `no_std`, so that the eBPF object and the daemon compile the same source.
#![no_std]

pub mod call;
pub mod hist;
pub mod limits;
pub mod wire;

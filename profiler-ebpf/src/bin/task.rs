//! The object for kernels with BTF and task storage (Linux 5.11), but without arenas:
//! `tp_btf` programs, records and cells in arrays.
#![no_std]
#![no_main]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use profiler_ebpf::typed;

profiler_ebpf::task_storage!(Storage);

type TypedBackend = typed::TypedBackend<Storage>;

profiler_ebpf::programs!(BtfTracePointContext, TypedBackend, btf_tracepoint, function);
profiler_ebpf::calls_before!(TypedBackend);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

//! A host for the tests of checks.

use std::time::Duration;

use profiler_common::settings::FieldGroup;

use super::{all, memory::MIB};
use crate::{
    commands::doctor::{
        finding::Finding,
        host::{Host, Trial},
    },
    engine::kernel::{
        Cast, Fit, Options, Rings,
        features::{Features, Layout},
    },
};

/// A host without a drawback.
pub(super) fn good() -> Host {
    Host {
        features: Features {
            release: "6.12.1".into(),
            version: (6, 12),
            layout: Layout::with(&FieldGroup::ALL),
            tp_btf: true,
            capability_tracepoint: true,
            capability_function: true,
            cgroup_tracepoint: true,
            controllers: [None; 3],
            task_storage: true,
            arena: Some(Cast::default()),
            rings: Ok(Rings::of_6_12()),
            unread: None,
            missing_capabilities: Vec::new(),
            host_pid_namespace: Some(true),
            attach_btf: Vec::new(),
        },
        architecture: "x86_64",
        jit: Some(1),
        lockdown: Some("none".into()),
        bpf_stats: Some(0),
        can_time: Ok(()),
        clock_source: Some("tsc".into()),
        memlock: Some(8 * MIB),
        cgroups: Ok("/sys/fs/cgroup".into()),
        memory_limit: None,
        memory_fit: Fit::new(&Options::default(), None),
        available_bytes: Some(1024 * MIB),
        confinement: Ok(("uid 65534, gid 65534, no capability".into(), Vec::new())),
        trial: Ok(Trial {
            mode: "tp_btf, task storage, arena".into(),
            took: Duration::from_millis(90),
            kernel_memory_bytes: 50 * MIB,
            jited_bytes: 15 * 1024,
            verified_instructions: Some(14_304),
        }),
    }
}
/// The finding of the check `what`.
pub(super) fn at(host: &Host, what: &str) -> Finding {
    all(host).into_iter().find(|f| f.what == what).expect("such a check")
}

//! What the settings mean to a running daemon.

use super::Config;
use crate::cli::{FilterArgs, KernelArgs};

impl Config {
    /// What the kernel side is to do, by these settings and by the flags that have
    /// no setting.
    pub fn kernel_args(&self, flags: &KernelArgs) -> KernelArgs {
        KernelArgs {
            max_threads: Some(self.max_threads),
            max_memory: Some(self.max_memory_mib),
            include_self: self.include_self,
            force_fallback: flags.force_fallback,
            force_arrays: flags.force_arrays,
            no_latency: self.time_one_in == 0,
            sample: (self.time_one_in > 1).then_some(self.time_one_in),
        }
    }

    /// What is to count, by these settings.
    pub fn filter_args(&self) -> FilterArgs {
        FilterArgs {
            cgroup: vec![self.cgroups.clone()],
            comm: vec![self.comms.clone()],
            syscall: self.syscalls.clone(),
            exclude_syscall: Vec::new(),
        }
    }

    /// Takes over from `new` what can change while the daemon runs, and names the
    /// settings that differ and cannot.
    pub fn take_live(&mut self, new: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            allowed_hosts,
            interval,
            max_threads,
            max_memory_mib,
            time_one_in,
            include_self,
            bpf_stats,
            cgroups,
            comms,
            syscalls,
            user,
            log_level,
        } = new;
        self.interval = *interval;
        self.log_level = *log_level;
        [
            ("listen", self.listen != *listen),
            ("allowed_hosts", self.allowed_hosts != *allowed_hosts),
            ("max_threads", self.max_threads != *max_threads),
            ("max_memory_mib", self.max_memory_mib != *max_memory_mib),
            ("time_one_in", self.time_one_in != *time_one_in),
            ("include_self", self.include_self != *include_self),
            ("bpf_stats", self.bpf_stats != *bpf_stats),
            ("cgroups", self.cgroups != *cgroups),
            ("comms", self.comms != *comms),
            ("syscalls", self.syscalls != *syscalls),
            ("user", self.user != *user),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

//! Applies the settings to the kernel side and to a running daemon.

use super::Config;
use crate::{
    commands::cli::KernelArgs,
    engine::kernel::Request,
    filter::{Filter, FilterError, Places},
};

impl Config {
    /// The request of the settings, and of flags without a setting, to the kernel side.
    pub fn request(&self, flags: &KernelArgs) -> Request {
        Request {
            timed: self.time_one_in,
            max_threads: Some(self.max_threads),
            max_memory_mib: Some(self.max_memory_mib),
            off_cpu: self.off_cpu,
            include_self: self.include_self,
            force_fallback: flags.force_fallback,
            force_arrays: flags.force_arrays,
        }
    }

    /// The filter of these settings. Looks up the cgroups now.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let filter = Filter::new(&self.cgroups, self.comms.clone(), &self.syscalls)?;
        filter.in_places(Places {
            units: self.units.clone(),
            containers: self.containers.clone(),
            pods: self.pods.clone(),
        })
    }

    /// Takes over the settings of `new` that can change while the daemon runs. Returns the names of
    /// the changed settings that require a restart. The caller handles the groups of metrics,
    /// because only it knows which groups the kernel side allows.
    pub fn take_live(&mut self, new: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            allowed_hosts,
            web_config,
            interval,
            max_threads,
            max_memory_mib,
            time_one_in,
            off_cpu,
            include_self,
            bpf_stats,
            cgroups,
            units,
            containers,
            pods,
            comms,
            syscalls,
            user,
            log_level,
            metrics,
        } = new;
        self.interval = *interval;
        self.log_level = *log_level;
        [
            ("listen", self.listen != *listen),
            ("allowed_hosts", self.allowed_hosts != *allowed_hosts),
            ("web_config", self.web_config != *web_config),
            ("max_threads", self.max_threads != *max_threads),
            ("max_memory_mib", self.max_memory_mib != *max_memory_mib),
            ("time_one_in", self.time_one_in != *time_one_in),
            ("where", self.off_cpu != *off_cpu),
            ("include_self", self.include_self != *include_self),
            ("bpf_stats", self.bpf_stats != *bpf_stats),
            ("cgroups", self.cgroups != *cgroups),
            ("units", self.units != *units),
            ("containers", self.containers != *containers),
            ("pods", self.pods != *pods),
            ("comms", self.comms != *comms),
            ("syscalls", self.syscalls != *syscalls),
            ("user", self.user != *user),
            ("metrics.syscalls", self.metrics.syscalls != metrics.syscalls),
            ("metrics.latency_bounds", self.metrics.latency_bounds != metrics.latency_bounds),
            (
                "metrics.openmetrics_created",
                self.metrics.openmetrics_created != metrics.openmetrics_created,
            ),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

//! Reports the results of two trials: dropping privileges as the daemon does, and attaching.

use super::memory::mib;
use crate::commands::doctor::{
    finding::Finding,
    host::{Host, Trial},
};

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    vec![confinement(host), attach(host)]
}

/// The remaining privileges of a daemon on this host. A child process dropped its privileges, and
/// read the result from the kernel.
fn confinement(host: &Host) -> Finding {
    const WHAT: &str = "confinement of the daemon";
    match &host.confinement {
        Ok((left, amiss)) if amiss.is_empty() => Finding::ok(WHAT, left),
        Ok((left, amiss)) => Finding::warning(WHAT, left, amiss.join("\n")),
        Err(why) => Finding::warning(WHAT, why, "on this host, the daemon exits with this error"),
    }
}

fn attach(host: &Host) -> Finding {
    const WHAT: &str = "trial";
    match &host.trial {
        Ok(trial) => Finding::ok(
            WHAT,
            format!(
                "loaded and attached in {} ms with {}; {} of kernel memory\n{}",
                trial.took.as_millis(),
                trial.mode,
                mib(trial.kernel_memory_bytes),
                programs(trial)
            ),
        ),
        Err(error) => Finding::missing(
            WHAT,
            error.to_string(),
            error.hint().unwrap_or_else(|| "please report this".into()),
            error.exit_code(),
        ),
    }
}

fn programs(trial: &Trial) -> String {
    let code = match trial.jited_bytes {
        0 => "no machine code".to_owned(),
        bytes => format!("{:.1} KiB of machine code", bytes as f64 / 1024.0),
    };
    match trial.verified_instructions {
        Some(most) => format!("{code}; at most {most} instructions verified for a program"),
        None => code,
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::doctor::{
        checks::fixture::{at, good},
        finding::Status,
    };

    #[test]
    fn a_daemon_that_stays_privileged_is_a_drawback() {
        let mut host = good();
        host.confinement = Ok(("uid 0".into(), vec!["it runs as root".into()]));
        let finding = at(&host, "confinement of the daemon");
        assert_eq!((finding.status, finding.found.as_str()), (Status::Warning, "uid 0"));
        assert_eq!(finding.remedy.as_deref(), Some("it runs as root"));
    }
}

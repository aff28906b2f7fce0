//! The outcome of a check.

/// The status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// No problem.
    Ok,
    /// The profiler runs, with a drawback.
    Warning,
    /// The profiler cannot run.
    Missing,
}

/// A check and its outcome.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Finding {
    /// The subject of the check.
    pub(super) what: &'static str,
    pub(super) status: Status,
    /// What the check found.
    pub(super) found: String,
    /// What the user can do, or what the drawback is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// The exit code if the profiler cannot run because of this; 0 otherwise.
    #[serde(skip)]
    pub(super) exit_code: u8,
}

impl Finding {
    /// Exit code if the profiler lacks a privilege.
    pub(super) const NO_PRIVILEGE: u8 = 3;
    /// Exit code if the kernel lacks a feature.
    pub(super) const NO_FEATURE: u8 = 4;

    /// No problem.
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, status: Status::Ok, found: found.into(), remedy: None, exit_code: 0 }
    }

    /// The profiler runs, with a drawback.
    pub(super) fn warning(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { status: Status::Warning, remedy: Some(remedy.into()), ..Self::ok(what, found) }
    }

    /// The profiler cannot run.
    pub(super) fn missing(
        what: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
        exit_code: u8,
    ) -> Self {
        Self { status: Status::Missing, exit_code, ..Self::warning(what, found, remedy) }
    }
}

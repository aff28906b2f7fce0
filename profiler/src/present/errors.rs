//! Formats errors by the name of their errno.

use std::{borrow::Cow, collections::BTreeMap};

use crate::names::errnos;

/// The name of all errors whose errno is not counted separately.
const OTHER: &str = "other";

/// Errors by name, in the order of `errnos`. `unlisted` errors come last, as `other`.
pub(super) fn named(
    errnos: &[(u16, u64)],
    unlisted: u64,
) -> impl Iterator<Item = (Cow<'static, str>, u64)> + use<'_> {
    let listed = errnos.iter().map(|&(errno, count)| (errnos::name(errno), count));
    listed.chain((unlisted > 0).then_some((Cow::Borrowed(OTHER), unlisted)))
}

/// Same as [`named`], as a map for JSON.
pub(super) fn map(errnos: &[(u16, u64)], unlisted: u64) -> BTreeMap<String, u64> {
    named(errnos, unlisted).map(|(name, count)| (name.into_owned(), count)).collect()
}

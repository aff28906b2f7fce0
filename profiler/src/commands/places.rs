//! Checks whether the units, containers and pods of the flags and settings exist.

use crate::{
    engine::kernel::existing_cgroups,
    filter::{PlaceError, Places},
};

/// Returns an error for each name that matches nothing on this host.
///
/// # Errors
/// [`PlaceError::Ambiguous`] if a name matches several containers or pods.
pub(super) fn unknown(places: &Places) -> Result<Vec<PlaceError>, PlaceError> {
    if places.is_empty() { Ok(Vec::new()) } else { places.check(&existing_cgroups()) }
}

//! Units, containers and pods of the command line and the configuration: whether they exist.

use crate::{
    engine::kernel::existing_cgroups,
    filter::{PlaceError, Places},
};

/// The names that match nothing on this host. Without names, nothing is looked at.
///
/// # Errors
/// [`PlaceError::Ambiguous`] if a name matches several containers or pods.
pub(super) fn unknown(places: &Places) -> Result<Vec<PlaceError>, PlaceError> {
    if places.is_empty() { Ok(Vec::new()) } else { places.check(&existing_cgroups()) }
}

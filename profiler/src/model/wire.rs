//! Serialises types that the kernel side and the user side share. These types do not depend on
//! serde.

use profiler_common::call::CallKey;
use serde::{Deserialize, Serialize};

/// A [`CallKey`] as its number.
#[derive(Serialize, Deserialize)]
#[serde(remote = "CallKey")]
pub(super) struct Key(u32);

//! How types of both sides are serialised. Those types know nothing of serde.

use profiler_common::call::CallKey;
use serde::{Deserialize, Serialize};

/// A [`CallKey`] as its number.
#[derive(Serialize, Deserialize)]
#[serde(remote = "CallKey")]
pub(super) struct Key(u32);

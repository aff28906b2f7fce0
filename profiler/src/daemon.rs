//! Stub.
use crate::{cli::DaemonArgs, error::Error};
/// Stub.
pub fn run(_args: &DaemonArgs) -> Result<(), Error> {
    todo!()
}

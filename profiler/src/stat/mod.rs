//! Stub.
use crate::{cli::StatArgs, error::Error};
/// Stub.
pub fn run(_args: &StatArgs) -> Result<u8, Error> {
    todo!()
}

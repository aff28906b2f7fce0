//! Stub.
use crate::{cli::TopArgs, error::Error};
/// Stub.
pub fn run(_args: &TopArgs) -> Result<(), Error> {
    todo!()
}

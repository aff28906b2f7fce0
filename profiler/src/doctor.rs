//! Stub.
use crate::{cli::DoctorArgs, error::Error};
/// Stub.
pub fn run(_args: &DoctorArgs) -> Result<(), Error> {
    todo!()
}

//! Parses flags that take a duration.

use clap::{
    Arg, Command,
    builder::{TypedValueParser, ValueParserFactory},
    error::ErrorKind,
};

use crate::{
    duration::{Bounded, InvalidDuration},
    text::Untrusted,
};

/// Parses the value of a flag, and names the flag if that fails.
#[derive(Clone, Copy, Debug)]
pub struct FlagParser<const MIN_MS: u64, const MAX_MS: u64>;

impl<const MIN_MS: u64, const MAX_MS: u64> ValueParserFactory for Bounded<MIN_MS, MAX_MS> {
    type Parser = FlagParser<MIN_MS, MAX_MS>;

    fn value_parser() -> Self::Parser {
        FlagParser
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> TypedValueParser for FlagParser<MIN_MS, MAX_MS> {
    type Value = Bounded<MIN_MS, MAX_MS>;

    fn parse_ref(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        Untrusted::from(value).raw().parse().map_err(|invalid: InvalidDuration| {
            let flag = flag.and_then(Arg::get_long).map(|name| format!("--{name}"));
            let message = invalid.message(flag.as_deref()) + "\n";
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

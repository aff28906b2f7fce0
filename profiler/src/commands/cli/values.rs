//! Values of flags that the model defines: their names and help.

use clap::{ValueEnum, builder::PossibleValue};

use crate::model::SortKey;

impl ValueEnum for SortKey {
    fn value_variants<'a>() -> &'a [Self] {
        use SortKey::{Calls, Errors, Max, Mean, Name, P50, P99, Total};
        &[Total, Calls, Errors, Mean, P50, P99, Max, Name]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Total => ("total", "Total time"),
            Self::Calls => ("calls", "Calls"),
            Self::Errors => ("errors", "Errors"),
            Self::Mean => ("mean", "Mean latency"),
            Self::P50 => ("p50", "Median latency"),
            Self::P99 => ("p99", "99th percentile of latency"),
            Self::Max => ("max", "Maximum latency"),
            Self::Name => ("name", "Name, ascending"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

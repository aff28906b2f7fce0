//! The setting `latency_bounds`: the bounds of latencies in classic buckets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{parsed, texts};
use crate::{
    duration,
    present::metrics::bounds::{self, Bounds, NoBound},
};

/// The setting `latency_bounds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBounds(
    #[serde(serialize_with = "texts", deserialize_with = "parsed")] Vec<LatencyBound>,
);

impl Default for LatencyBounds {
    fn default() -> Self {
        Self(Bounds::default().as_slice().iter().copied().map(LatencyBound).collect())
    }
}

impl LatencyBounds {
    /// The bounds, sorted and without duplicates.
    pub fn bounds(&self) -> Bounds {
        let bounds = self.0.iter().map(|bound| bound.0);
        Bounds::new(bounds).expect("each was checked when it was parsed")
    }
}

/// A bound in nanoseconds, which is also a bound of the recorded histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LatencyBound(u64);

impl FromStr for LatencyBound {
    type Err = InvalidBound;

    fn from_str(text: &str) -> Result<Self, InvalidBound> {
        let ns = duration::exact_nanos(text).ok_or(InvalidBound::Form)?;
        bounds::check(ns).map_err(InvalidBound::Between)?;
        Ok(Self(ns))
    }
}

impl fmt::Display for LatencyBound {
    /// Formats the bound in the largest unit in which its value is at least one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        let Some((unit, unit_ns)) = UNITS.into_iter().find(|&(_, ns)| self.0 >= ns) else {
            return write!(f, "{}ns", self.0);
        };
        let (whole, rest) = (self.0 / unit_ns, self.0 % unit_ns);
        let places = unit_ns.ilog10() as usize;
        let fraction = format!("{rest:0places$}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole}{unit}"),
            fraction => write!(f, "{whole}.{fraction}{unit}"),
        }
    }
}

/// A text is not a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidBound {
    /// The text is not a duration in whole nanoseconds.
    Form,
    /// The duration is not a bound of the recorded histogram.
    Between(NoBound),
}

impl fmt::Display for InvalidBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Between(NoBound { below, above }) = self else {
            return f.write_str(
                "expected whole nanoseconds, as a number and a unit (ns, us, ms, s), for example \
                 2.048us",
            );
        };
        f.write_str("not a bound of a recorded bucket; the nearest ")?;
        match (below.map(LatencyBound), above.map(LatencyBound)) {
            (Some(below), Some(above)) => write!(f, "bounds are {below} and {above}"),
            (Some(only), None) | (None, Some(only)) => write!(f, "bound is {only}"),
            // Every duration has a nearest bound.
            (None, None) => f.write_str("bound is unknown"),
        }
    }
}

impl std::error::Error for InvalidBound {}

#[cfg(test)]
mod tests {
    use profiler_common::hist::{self, BUCKETS};

    use super::*;

    #[test]
    fn bounds_are_written_and_parsed() {
        for (text, ns) in [
            ("8ns", 8),
            ("1.024us", 1024),
            ("131.072us", 131_072),
            ("2.097152ms", 1 << 21),
            ("1.073741824s", 1 << 30),
            ("2199.023255552s", 1 << 41),
        ] {
            assert_eq!(text.parse(), Ok(LatencyBound(ns)));
            assert_eq!(LatencyBound(ns).to_string(), text);
        }
        assert_eq!("1024ns".parse(), Ok(LatencyBound(1024)));
        assert_eq!("0.001024ms".parse(), Ok(LatencyBound(1024)));
        assert_eq!("1.0240us".parse(), Ok(LatencyBound(1024)));
        for bucket in 0..BUCKETS - 1 {
            let bound = LatencyBound(hist::upper(bucket));
            assert_eq!(bound.to_string().parse(), Ok(bound), "{bound}");
        }
    }

    #[test]
    fn what_is_no_bound_is_refused_with_the_nearest() {
        for (text, nearest) in [
            ("1ms", "bounds are 983.04us and 1.048576ms"),
            ("10ms", "bounds are 9.437184ms and 10.48576ms"),
            ("1us", "bounds are 960ns and 1.024us"),
            ("1.025us", "bounds are 1.024us and 1.152us"),
            ("1s", "bounds are 939.524096ms and 1.00663296s"),
            ("0ns", "bound is 8ns"),
            ("7ns", "bound is 8ns"),
            ("20h", "bound is 32985.34883328s"),
        ] {
            let error = text.parse::<LatencyBound>().expect_err(text).to_string();
            assert_eq!(error, format!("not a bound of a recorded bucket; the nearest {nearest}"));
        }
        for text in
            ["", "1x", "ms", "-1us", "1.0240001us", "1.0241us", "128.5ns", "1.02400000000000001us"]
        {
            let error = text.parse::<LatencyBound>().expect_err(text).to_string();
            assert!(error.contains("expected whole nanoseconds"), "{error}");
        }
    }

    #[test]
    fn the_default_is_that_of_the_encoders() {
        assert_eq!(LatencyBounds::default().bounds(), Bounds::default());
    }
}

//! The JSON of the rows that `--failed`, `--errno` and `--no-waits` hide.

use serde::Serialize;

use crate::present::shown::{Hidden, Shown, Sum};

/// The sum of rows that are hidden.
#[derive(Serialize)]
pub(super) struct HiddenObject {
    rows: usize,
    calls: u64,
    errors: u64,
    denied: u64,
    in_flight: u64,
    estimated_total_ns: u64,
    /// The part that waits by nature, with `--no-waits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Box<HiddenObject>>,
}

impl HiddenObject {
    fn new(sum: &Sum, rows: usize) -> Self {
        Self {
            rows,
            calls: sum.figures.calls,
            errors: sum.figures.errors,
            denied: sum.figures.denied,
            in_flight: sum.in_flight,
            estimated_total_ns: sum.total_ns,
            waits: None,
        }
    }

    pub(super) fn of(shown: &Shown, hidden: &Hidden) -> Option<Self> {
        let waits = || Box::new(Self::new(&hidden.waits, hidden.waits.rows));
        shown.is_filtered().then(|| Self {
            waits: shown.no_waits.then(waits),
            ..Self::new(&hidden.left_out, hidden.rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::{
        model::Figures,
        present::{Report, json::testing::json, rows::Row, testing},
    };

    #[test]
    fn what_is_left_out_is_summed() {
        let figures = Figures { calls: 9, returned: 8, total_ns: 700, ..Figures::default() };
        let row = Row::of_syscall(CallKey::of(Abi::X86_64, 0), figures);
        let waits = Sum::of(&[Row { in_flight: 1, ..row }]);
        let hidden = Hidden { rows: 3, left_out: waits.clone(), waits, waiting_ns: 700 };
        let json =
            |shown: Shown| json(&Report { hidden: &hidden, shown: &shown, ..testing::report() });
        let no_waits = Shown { no_waits: true, ..Shown::default() };
        insta::assert_snapshot!(json(no_waits)["hidden"], @r#"{"calls":9,"denied":0,"errors":0,"estimated_total_ns":700,"in_flight":1,"rows":3,"waits":{"calls":9,"denied":0,"errors":0,"estimated_total_ns":700,"in_flight":1,"rows":1}}"#);
        let failed = Shown { failed: true, ..Shown::default() };
        assert!(json(failed)["hidden"].get("waits").is_none());
        assert!(json(Shown::default()).get("hidden").is_none());
    }
}

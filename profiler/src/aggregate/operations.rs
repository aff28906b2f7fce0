//! The operations of io_uring by process and opcode.

use std::{collections::BTreeMap, sync::Arc};

use profiler_common::limits::COMM_LEN;

use super::{Aggregate, Identity};
use crate::{
    model::{ENDED_COMM, OVERFLOW_COMM, OperationRow, Operations, Process},
    text::Untrusted,
};

/// The maximum number of rows. Beyond that, the rows that have not changed for the longest time are
/// added up in one row per opcode, so that memory stays bounded.
const MAX_ROWS: usize = 4_096;

/// Operations by process and opcode.
#[derive(Debug, Default)]
pub struct OperationTable {
    rows: BTreeMap<(Identity, Option<u8>), Entry>,
    /// Operations for which the kernel side had no row, by opcode.
    overflowed: BTreeMap<Option<u8>, Operations>,
    /// The sum of rows beyond the limit, by opcode.
    folded: BTreeMap<Option<u8>, Operations>,
    /// Readings so far.
    readings: u64,
}

#[derive(Debug)]
struct Entry {
    comm: Untrusted,
    operations: Operations,
    /// The reading that changed it last.
    changed: u64,
}

impl OperationTable {
    /// Begins a reading.
    pub fn begin_reading(&mut self) {
        self.readings += 1;
    }

    /// Adds operations. `process` is `None` if the kernel side had no row for the process.
    pub fn add(
        &mut self,
        process: Option<(Identity, &[u8; COMM_LEN])>,
        opcode: Option<u8>,
        new: &Operations,
    ) {
        let Some((identity, comm)) = process else {
            self.overflowed.entry(opcode).or_default().merge(new);
            return;
        };
        let entry = self.rows.entry((identity, opcode)).or_insert_with(|| Entry {
            comm: Untrusted::from_comm(comm),
            operations: Operations::default(),
            changed: 0,
        });
        entry.operations.merge(new);
        entry.changed = self.readings;
        if self.rows.len() > MAX_ROWS {
            self.fold();
        }
    }

    /// Folds an eighth of the rows at once, so that folding is rare.
    fn fold(&mut self) {
        let mut by_age: Vec<_> = self.rows.iter().map(|(key, e)| (e.changed, *key)).collect();
        by_age.sort_unstable();
        for (_, key) in by_age.into_iter().take(MAX_ROWS / 8) {
            if let Some(entry) = self.rows.remove(&key) {
                self.folded.entry(key.1).or_default().merge(&entry.operations);
            }
        }
    }

    /// All rows, in no order. A process has the name that `processes` knows, or else the name that
    /// it had at its first operation.
    pub fn rows(&self, processes: &Aggregate) -> Vec<OperationRow> {
        let named = |(identity, entry): (Identity, &Entry)| {
            let known = processes.process_by_identity(identity).map(Arc::clone);
            known.unwrap_or_else(|| {
                Arc::new(Process::new(identity.tgid, identity.start_ns, entry.comm.clone()))
            })
        };
        let of_nobody = |comm: &'static str, sums: &BTreeMap<Option<u8>, Operations>| {
            let process = Arc::new(Process::nobody(comm));
            let row = |(&opcode, sum): (&Option<u8>, &Operations)| {
                OperationRow::new(Arc::clone(&process), opcode, sum.clone())
            };
            sums.iter().map(row).collect::<Vec<_>>()
        };
        let rows = self.rows.iter().map(|(&(identity, opcode), entry)| {
            OperationRow::new(named((identity, entry)), opcode, entry.operations.clone())
        });
        rows.chain(of_nobody(OVERFLOW_COMM, &self.overflowed))
            .chain(of_nobody(ENDED_COMM, &self.folded))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::KeepEnded;

    fn one() -> Operations {
        Operations { submitted: 1, completed: 1, errnos: vec![(9, 1)], ..Operations::default() }
    }

    #[test]
    fn a_process_has_a_row_per_opcode() {
        let mut table = OperationTable::default();
        table.begin_reading();
        let identity = Identity { tgid: 7, start_ns: 1 };
        let comm = *b"server\0\0\0\0\0\0\0\0\0\0";
        for opcode in [Some(0), Some(22), Some(0), None] {
            table.add(Some((identity, &comm)), opcode, &one());
        }
        table.add(None, Some(0), &one());
        let rows = table.rows(&Aggregate::new(KeepEnded::Always));
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.process.comm.raw(), row.opcode, row.total.submitted))
            .collect();
        let expected = [
            ("server", None, 1),
            ("server", Some(0), 2),
            ("server", Some(22), 1),
            (OVERFLOW_COMM, Some(0), 1),
        ];
        assert_eq!(shown, expected);
    }

    /// Folding does not change the sum.
    #[test]
    fn rows_are_bounded_and_no_sum_changes() {
        let mut table = OperationTable::default();
        let aggregate = Aggregate::new(KeepEnded::Always);
        let count = 2 * MAX_ROWS as u32;
        for tgid in 1..=count {
            table.begin_reading();
            table.add(Some((Identity { tgid, start_ns: 1 }, &[0; 16])), Some(0), &one());
        }
        let rows = table.rows(&aggregate);
        assert!(rows.len() <= MAX_ROWS + 1, "{}", rows.len());
        let sum: Operations = rows.iter().map(|row| &row.total).collect();
        assert_eq!((sum.submitted, sum.errors()), (u64::from(count), u64::from(count)));
        // The latest rows are kept apart.
        assert!(rows.iter().any(|row| row.process.tgid == Some(count)));
    }
}

//! A host for the benchmarks. Each process has one thread. The host uses the fake tables of the
//! tests.

use super::{fake::Fake, in_flight, reader::Reader};
use crate::{
    aggregate::Aggregate,
    model::{Detail, InFlight, ProcessRow, Snapshot},
};

/// Upper bound of the cells per call that a thread takes: a page, a slot, a chunk, and a spare
/// cell.
const CELLS_OF_A_CALL: u32 = 4;

/// The longest latency in nanoseconds.
const LONGEST: u64 = 4_000;

/// A host, and a reader that watches it.
pub struct Watch {
    tables: Fake,
    reader: Reader,
    aggregate: Aggregate,
    records: Vec<u32>,
    calls: u32,
    turn: u64,
}

impl Watch {
    /// Creates a host whose processes have made each of `calls` calls once.
    pub fn new(processes: u32, calls: u32, aggregate: Aggregate) -> Self {
        let extents = processes * (calls * CELLS_OF_A_CALL).div_ceil(8) + 2;
        let mut tables = Fake::new(processes, extents);
        let reader = Reader::new(&tables, crate::model::Timed::All);
        let records = (1..=processes).map(|id| tables.start(id, id)).collect();
        let mut watch = Self { tables, reader, aggregate, records, calls, turn: 0 };
        watch.everybody_calls();
        watch
    }

    /// Makes each process make each of its calls once more.
    pub fn everybody_calls(&mut self) {
        self.turn += 1;
        for &record in &self.records {
            for nr in 0..self.calls {
                let latency = 100 + (self.turn * 977 + u64::from(record * 31 + nr)) % LONGEST;
                let call = self.tables.enter(record, nr, latency, None);
                self.tables.leave(call);
            }
        }
    }

    /// Makes each process enter a call and stay in it.
    pub fn everybody_sleeps(&mut self) {
        for &record in &self.records {
            self.tables.enter_at(record, 0, 1);
        }
    }

    /// Drains the tables.
    pub fn read(&mut self) {
        self.reader.read(&mut self.tables, &mut self.aggregate);
    }

    /// The calls in flight.
    pub fn in_flight(&mut self) -> InFlight {
        in_flight::read(&self.tables, self.reader.known(), &self.aggregate, 1_000_000_000)
    }

    /// The processes of a snapshot.
    pub fn processes(&self) -> Vec<ProcessRow> {
        self.aggregate.processes(Detail::Processes)
    }

    /// A snapshot without processes.
    pub fn totals(&self) -> Snapshot {
        Snapshot { calls: self.aggregate.calls(), ..Snapshot::default() }
    }
}

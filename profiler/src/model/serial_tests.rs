//! A snapshot is written and read back without loss, whatever it holds.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, SystemTime},
};

use profiler_common::{call::CallKey, hist::BUCKETS};
use proptest::prelude::*;

use super::*;
use crate::{placement::Named, text::Untrusted};

/// A source of arbitrary values.
struct Numbers(std::iter::Cycle<std::vec::IntoIter<u64>>);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0.next().expect("a cycle")
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn option<T>(&mut self, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(of(self)) } else { None }
    }

    fn few<T>(&mut self, of: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| of(self)).collect()
    }

    fn duration(&mut self) -> Duration {
        Duration::new(self.next() >> 1, self.below(1_000_000_000) as u32)
    }

    /// With control characters, quotes and the replacement character.
    fn text(&mut self) -> Untrusted {
        let chars = ['a', '"', '\\', '\u{1b}', '\u{fffd}', '\u{202e}', '\u{1f980}', '\0'];
        let text: String = (0..self.below(6)).map(|_| chars[self.below(8) as usize]).collect();
        text.into()
    }

    fn key(&mut self) -> CallKey {
        CallKey(self.next() as u32)
    }

    fn latency(&mut self) -> Latency {
        let buckets = self.few(|n| (n.below(BUCKETS as u64) as usize, n.next() >> 8));
        buckets.into_iter().collect()
    }

    fn figures(&mut self) -> Figures {
        let mut figures = Figures {
            calls: self.next(),
            returned: self.next(),
            restarted: self.next(),
            errors: self.next(),
            denied: self.next(),
            never_returned: self.next(),
            lost: self.next(),
            untimed: self.next(),
            total_ns: self.next(),
            off_cpu: OffCpu { waiting_ns: self.next(), runnable_ns: self.next() },
            extremes: self.option(|n| Extremes { min_ns: n.next(), max_ns: n.next() }),
            errnos: Vec::new(),
            errors_unlisted: self.next(),
            latency: self.latency(),
            extra: self.next(),
            extra_ns: self.next(),
            squares: self.next(),
        };
        for (errno, count) in self.few(|n| (n.next() as u16, n.next() >> 8)) {
            figures.add_errno(errno, count);
        }
        figures
    }

    fn calls(&mut self) -> Vec<CallRow> {
        self.few(|n| CallRow { key: n.key(), total: n.figures(), recent: n.figures() })
    }

    fn process(&mut self) -> Arc<Process> {
        Arc::new(Process {
            tgid: self.option(|n| n.next() as u32),
            start_ns: self.next(),
            comm: self.text(),
            uid: self.option(|n| n.next() as u32),
            ended: self.flag(),
        })
    }

    fn thread(&mut self) -> Arc<Thread> {
        let (tid, serial) = (self.next() as u32, self.next());
        Arc::new(Thread { tid, serial, comm: self.text(), ended: self.flag() })
    }

    fn process_row(&mut self) -> ProcessRow {
        let thread = |n: &mut Self| ThreadRow {
            thread: n.option(Self::thread),
            calls: Arc::new(n.calls()),
            cgroup: n.next(),
            cgroups: n.few(Self::cgroup_row),
        };
        ProcessRow {
            process: self.process(),
            calls: Arc::new(self.calls()),
            cgroup: self.next(),
            cgroups: self.few(Self::cgroup_row),
            threads: self.few(thread),
        }
    }

    fn cgroup_row(&mut self) -> CgroupRow {
        CgroupRow { cgroup: self.next(), calls: Arc::new(self.calls()) }
    }

    fn cgroup(&mut self) -> Arc<Cgroup> {
        let id = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";
        let below =
            ["a.slice/b.service", "docker/", "kubepods/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/"];
        let mut cgroup = Cgroup::at(&format!("/{}{id}", below[self.below(3) as usize]));
        cgroup.removed = self.flag();
        cgroup.named = Named { container: self.option(Self::text), ..Named::default() };
        Arc::new(cgroup)
    }

    fn kind(&mut self) -> Kind {
        Kind::ALL[self.below(3) as usize]
    }

    fn in_flight(&mut self) -> InFlight {
        InFlight {
            calls: self.few(|n| CallInFlight {
                key: n.key(),
                kind: n.kind(),
                threads: n.next(),
                unrecorded: n.next(),
                before: n.next(),
                oldest: n.duration(),
            }),
            oldest: self.few(|n| ThreadInFlight {
                process: n.process(),
                tid: n.next() as u32,
                key: n.key(),
                kind: n.kind(),
                age: n.duration(),
                at_least: n.flag(),
            }),
            sees_before: self.flag(),
        }
    }

    fn operations(&mut self) -> Operations {
        Operations {
            submitted: self.next(),
            silent: self.next(),
            completed: self.next(),
            unmatched: self.next(),
            silent_completed: self.next(),
            unreported: self.next(),
            posted: self.next(),
            overflowed: self.next(),
            total_ns: self.next(),
            errnos: self.few(|n| (n.next() as u16, n.next())),
            errors_unlisted: self.next(),
            latency: self.latency(),
        }
    }

    fn io_uring(&mut self) -> IoUring {
        IoUring {
            coverage: match self.below(4) {
                0 => Coverage::NotObserved,
                1 => Coverage::Missing(self.text().raw().to_owned().into()),
                2 => Coverage::ByUserData,
                _ => Coverage::ByRequest,
            },
            rows: self.few(|n| OperationRow {
                process: n.process(),
                opcode: n.option(|n| n.next() as u8),
                total: n.operations(),
                recent: n.operations(),
            }),
        }
    }

    fn runs(&mut self) -> Runs {
        Runs { count: self.next(), events: self.next(), time: self.duration() }
    }

    fn cost(&mut self) -> Cost {
        let cpu = |n: &mut Self| CpuTime { user: n.duration(), system: n.duration() };
        Cost {
            elapsed: self.duration(),
            cpu: cpu(self),
            cpu_to_attach: cpu(self),
            resident_bytes: self.next(),
            peak_resident_bytes: self.next(),
            drains: Times {
                last: self.duration(),
                total: self.duration(),
                longest: self.duration(),
                spread: self.latency(),
            },
            programs: self.few(|n| Program {
                name: n.text().raw().to_owned(),
                copies: n.next() as usize,
                jited_bytes: n.next(),
                verified_instructions: n.option(|n| n.next() as u32),
            }),
            timing: match self.below(4) {
                0 => Timing::No(Untimed::Off),
                1 => Timing::No(Untimed::Privilege),
                2 => Timing::No(Untimed::Refused(self.next() as i32)),
                _ => Timing::Of {
                    period: self.next(),
                    time: self.duration(),
                    runs: self.few(Self::runs),
                },
            },
        }
    }

    fn timed(&mut self) -> Timed {
        match NonZeroU32::new(self.below(6) as u32) {
            None => Timed::None,
            Some(NonZeroU32::MIN) => Timed::All,
            Some(limit) if limit.get() == 5 => Timed::Adaptive(limit),
            Some(calls) => Timed::OneIn(calls),
        }
    }

    fn losses(&mut self) -> Losses {
        Losses {
            no_task_state: self.next(),
            missed_entries: self.next(),
            missed_exits: self.next(),
            unfollowed_children: self.next(),
            missed_life_events: self.next(),
            missed_operations: self.next(),
        }
    }

    fn pool(&mut self) -> Pool {
        Pool {
            name: self.text().raw().to_owned().into(),
            usage: Use { used: self.next(), capacity: self.next() },
            exhausted: self.next(),
            withheld: self.next(),
        }
    }

    fn kernel_detail(&mut self) -> KernelDetail {
        KernelDetail {
            mode: self.text().raw().to_owned().into(),
            copies: self.next() as usize,
            memory_bytes: self.next(),
            program_misses: self.few(|n| (n.text().raw().to_owned().into(), n.next())),
            entries_taken_over: self.next(),
            exits_taken_over: self.next(),
            in_flight_at_attach: self.next(),
            births: self.next(),
            denied_unrecorded: self.next(),
            denied_presumed: self.next(),
            unreported_returns: self.next(),
            unreported_ns: self.next(),
            ends_noticed: self.next(),
        }
    }

    fn health(&mut self) -> Health {
        Health {
            losses: self.losses(),
            unseen: self.next(),
            overflowed: self.next(),
            breaches: self.next(),
            last_breach: self.text().raw().to_owned(),
            pools: self.few(Self::pool),
            greediest_user: self.option(|n| n.next() as u32),
            cost: self.cost(),
            timed: self.timed(),
            off_cpu: self.flag(),
            engine: self
                .option(Self::kernel_detail)
                .map_or(EngineDetail::None, EngineDetail::Kernel),
        }
    }

    fn provenance(&mut self) -> Arc<Provenance> {
        let since_epoch = Duration::new(self.below(1 << 40), self.below(1_000_000_000) as u32);
        Arc::new(Provenance {
            host: self.option(Self::text),
            kernel: self.option(Self::text),
            boot: self.option(Self::text),
            started: SystemTime::UNIX_EPOCH + since_epoch,
            started_monotonic: self.duration(),
            scope: self
                .option(|n| n.few(|n| n.next() as u32))
                .map_or(Scope::Host, Scope::Processes),
            filter: self.text(),
            timed: self.timed(),
        })
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            provenance: self.provenance(),
            sequence: self.next(),
            window: self.duration(),
            interval: self.duration(),
            cpus: self.next() as usize,
            calls: self.calls(),
            processes: self.few(Self::process_row),
            users: Arc::new(self.few(|n| (n.next() as u32, n.text())).into_iter().collect()),
            cgroups: Arc::new(self.few(|n| (n.next(), n.cgroup())).into_iter().collect()),
            in_flight: self.in_flight(),
            io_uring: self.io_uring(),
            // They are not written.
            failures: Failures::default(),
            health: self.health(),
        }
    }
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let numbers = prop::collection::vec(any::<u64>(), 97);
    numbers.prop_map(|numbers| Numbers(numbers.into_iter().cycle()).snapshot())
}

proptest! {
    #[test]
    fn a_snapshot_is_read_back_as_it_was_written(snapshot in snapshot()) {
        let written = serde_json::to_vec(&snapshot).expect("it is serialised");
        let read: Snapshot = serde_json::from_slice(&written).expect("it is read back");
        prop_assert_eq!(read, snapshot);
    }
}

#[test]
fn a_histogram_that_is_none_is_refused() {
    let latency = |json| serde_json::from_str::<Latency>(json);
    assert_eq!(latency("[[3,1],[7,2]]").expect("a histogram").count(), 3);
    for wrong in ["[[7,1],[3,2]]", "[[3,1],[3,1]]", "[[3,0]]", "[[320,1]]", "[[-1,1]]"] {
        assert!(latency(wrong).is_err(), "{wrong}");
    }
}

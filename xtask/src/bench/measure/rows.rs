//! Rounds of measurements, everything in turn, so that what the machine does meanwhile
//! falls on all alike.

use anyhow::Result;

use super::{attached::Attached, child, quiet, subjects::Subject};
use crate::bench::results::Row;

/// Subjects, and why some of them are not measured.
pub(super) struct Turns<'a> {
    subjects: Vec<&'a Subject>,
    absent: Vec<Option<String>>,
    cpus: usize,
}

impl<'a> Turns<'a> {
    pub(super) fn new(subjects: Vec<&'a Subject>) -> Result<Self> {
        let absent = subjects.iter().map(|subject| subject.missing()).collect();
        Ok(Self { subjects, absent, cpus: std::thread::available_parallelism()?.get() })
    }

    /// Has `measure` called with each subject attached, in each round. What fails with a
    /// tool of others attached is said, and that tool left out from then on. How busy the
    /// machine was with other things before each round, in percent.
    pub(super) fn rounds(
        &mut self,
        rounds: u32,
        mut measure: impl FnMut(usize, &Subject, &Attached) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let count = self.subjects.len();
        let mut busy = Vec::new();
        for round in 0..rounds as usize {
            eprint!("\rround {} of {rounds}: waiting until nothing else runs {:20}", round + 1, "");
            busy.push(quiet::awaited()?);
            for turn in 0..count {
                // Another one comes first each time.
                let index = (round + turn) % count;
                let subject = self.subjects[index];
                if self.absent[index].is_some() {
                    continue;
                }
                child::check()?;
                eprint!("\rround {} of {rounds}: {:50}", round + 1, subject.title);
                let measured = subject.attach(self.cpus).and_then(|attached| {
                    std::thread::sleep(super::SETTLE);
                    measure(index, subject, &attached)?;
                    attached.detach()
                });
                std::thread::sleep(super::SETTLE);
                if let Err(error) = measured {
                    child::check()?;
                    let error = format!("{error:#}");
                    eprintln!("\n{}: {error}", subject.title);
                    self.absent[index] = Some(error);
                }
            }
        }
        eprintln!();
        Ok(busy)
    }

    /// A row each, of samples in the order of the subjects.
    pub(super) fn rows(&self, samples: Vec<Vec<f64>>) -> Vec<Row> {
        let rows = self.subjects.iter().zip(&self.absent).zip(samples);
        rows.map(|((subject, absent), samples)| Row {
            key: subject.key.to_owned(),
            title: subject.title.to_owned(),
            // Rounds before it failed have no counterpart in the others'.
            samples: if absent.is_some() { Vec::new() } else { samples },
            absent: absent.clone(),
            ..Row::default()
        })
        .collect()
    }

    /// A list of samples for each subject.
    pub(super) fn lists(&self) -> Vec<Vec<f64>> {
        vec![Vec::new(); self.subjects.len()]
    }
}

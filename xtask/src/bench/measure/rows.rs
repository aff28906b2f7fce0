//! Measures each subject in turn, in rounds, so that disturbances affect all subjects alike.

use anyhow::Result;

use super::{
    attached::Attached,
    child,
    quiet::{self, Residents},
    subjects::Subject,
};
use crate::bench::results::{Quiet, Row};

/// How often a disturbed measurement is repeated.
const TRIES: usize = 3;

/// The subjects, their samples, and why some are not measured.
pub(super) struct Turns<'a> {
    subjects: Vec<&'a Subject>,
    absent: Vec<Option<String>>,
    cpus: usize,
    /// The samples, by place, subject and round.
    samples: Vec<Vec<Vec<f64>>>,
    residents: Residents,
    pub(super) quiet: Quiet,
}

impl<'a> Turns<'a> {
    /// Creates the state before the first round.
    pub(super) fn new(subjects: Vec<&'a Subject>) -> Result<Self> {
        let absent = subjects.iter().map(|subject| subject.missing()).collect();
        let cpus = std::thread::available_parallelism()?.get();
        let residents = Residents::found()?;
        let quiet = Quiet { residents: residents.count(), ..Quiet::default() };
        Ok(Self { subjects, absent, cpus, samples: Vec::new(), residents, quiet })
    }

    /// Calls `measure` with each subject attached, in each round. `measure` returns a sample for
    /// each place, or `None` for a place that it skips. If a tool fails, prints the error, and
    /// skips the tool from then on.
    pub(super) fn rounds(
        &mut self,
        rounds: u32,
        mut measure: impl FnMut(&Subject, &Attached) -> Result<Vec<Option<f64>>>,
    ) -> Result<()> {
        let count = self.subjects.len();
        for round in 0..rounds as usize {
            for turn in 0..count {
                // Each round starts with another subject.
                let index = (round + turn) % count;
                let subject = self.subjects[index];
                if self.absent[index].is_some() {
                    continue;
                }
                eprint!("\rround {} of {rounds}: {:50}", round + 1, subject.title);
                match self.measured(subject, &mut measure) {
                    Ok(places) => self.keep(index, places),
                    Err(error) => {
                        child::check()?;
                        let error = format!("{error:#}");
                        eprintln!("\n{}: {error}", subject.title);
                        self.absent[index] = Some(error);
                    }
                }
            }
        }
        eprintln!();
        Ok(())
    }

    /// Measures one subject, and repeats a disturbed measurement.
    fn measured(
        &mut self,
        subject: &Subject,
        mut measure: impl FnMut(&Subject, &Attached) -> Result<Vec<Option<f64>>>,
    ) -> Result<Vec<Option<f64>>> {
        let mut tries = 1;
        loop {
            let before = quiet::awaited(&self.residents)?;
            let attached = subject.attach(self.cpus)?;
            std::thread::sleep(super::SETTLE);
            let places = measure(subject, &attached)?;
            attached.detach()?;
            let disturbed = quiet::after(&self.residents)?.disturbed_since(before);
            if disturbed && tries < TRIES {
                tries += 1;
                self.quiet.repeated += 1;
                continue;
            }
            self.quiet.turns += 1;
            self.quiet.disturbed += u32::from(disturbed);
            return Ok(places);
        }
    }

    fn keep(&mut self, index: usize, places: Vec<Option<f64>>) {
        let empty = vec![Vec::new(); self.subjects.len()];
        self.samples.resize(self.samples.len().max(places.len()), empty);
        for (samples, sample) in self.samples.iter_mut().zip(places) {
            samples[index].extend(sample);
        }
    }

    /// Returns a row of samples for each subject, at this place.
    pub(super) fn rows(&self, place: usize) -> Vec<Row> {
        let row = |(index, subject): (usize, &&Subject)| {
            let samples = self.samples.get(place).map(|subjects| subjects[index].clone());
            let absent = self.absent[index].clone();
            Row {
                key: subject.key.to_owned(),
                title: subject.title.to_owned(),
                // Discard the samples of a tool that failed.
                samples: samples.filter(|_| absent.is_none()).unwrap_or_default(),
                absent,
                ..Row::default()
            }
        };
        self.subjects.iter().enumerate().map(row).collect()
    }
}

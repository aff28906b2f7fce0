//! Groups of metrics: who makes calls, in a bounded number of series, and with exact sums.
//!
//! Each reading adds what was counted since the reading before, by the values of the group's
//! dimensions. The [`top`](GroupSpec::top) values are *members*: each has series of its own. Calls
//! of all other values are added to `other`. If a member loses its series, its counters move to
//! `folded`. So for each syscall and counter, members, `other` and `folded` always sum up to the
//! figures of all calls. No counter ever decreases: a member that returns starts at 0, as a process
//! that restarts does.
//!
//! `folded` is separate from `other`, so that the rate of `other` is the rate of calls. `folded`
//! jumps if a member leaves.
//!
//! The settings bound the memory: members and series by [`GroupSpec`], and values without series by
//! [`MAX_CANDIDATES`].

mod ranking;
mod series;

use std::{collections::HashMap, sync::Arc, time::Duration};

use self::{
    ranking::{Candidates, HOLD, HYSTERESIS, decay},
    series::Series,
};
use crate::model::{
    CallName, Counter, Counts, Dimension, FOLDED_VALUE, GroupMember, GroupReading, GroupRows,
    OTHER_VALUE,
};

pub use ranking::MAX_CANDIDATES;
pub use series::{RESERVED_SERIES, REST};

/// A value for each dimension of a group.
pub type Values = Arc<[String]>;

/// The score by which the members of a group are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RankBy {
    /// Calls
    #[default]
    Calls,
    /// Total time of the timed calls
    Time,
    /// Calls that returned an errno, or that were denied
    Errors,
}

impl RankBy {
    fn of(self, counts: &Counts) -> u64 {
        match self {
            // A denied call never enters, but counts for the ranking.
            Self::Calls => counts.get(Counter::Calls) + counts.get(Counter::Denied),
            Self::Time => counts.get(Counter::Nanoseconds),
            Self::Errors => counts.get(Counter::Errors) + counts.get(Counter::Denied),
        }
    }
}

/// The settings of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its dimensions.
    pub dimensions: Arc<[Dimension]>,
    /// The score by which members are chosen.
    pub rank_by: RankBy,
    /// The maximum number of members.
    pub top: usize,
    /// The maximum number of series, including those of `other` and `folded`. At least
    /// [`RESERVED_SERIES`].
    pub max_series: usize,
    /// How long a member stays without a call.
    pub expire: Duration,
}

/// A value with series of its own.
#[derive(Debug)]
struct Member {
    /// The time of the reading before the one that made it a member.
    since: Duration,
    /// Time of its last call.
    seen: Duration,
    score: f64,
    rows: Arc<GroupRows>,
    /// Whether a series was refused, so that part of its calls are in `other`.
    refused: bool,
}

/// The calls of a reading, by the values of the group's dimensions. A syscall can be there more than
/// once.
pub type Added = HashMap<Values, Vec<(CallName, Counts)>>;

/// A group.
#[derive(Debug)]
pub struct Group {
    spec: GroupSpec,
    members: HashMap<Values, Member>,
    candidates: Candidates,
    series: Series,
    since: Duration,
    now: Duration,
    folded_members: u64,
}

impl Group {
    /// A group that begins at `now`. `so_far` are the figures of all calls until then.
    pub fn new(spec: GroupSpec, now: Duration, so_far: &GroupRows) -> Self {
        let mut series = Series::new(spec.max_series);
        for (&name, counts) in so_far {
            for (counter, n) in counts.present() {
                if let Some(name) = series.admit(name, counter) {
                    series.add_folded(name, counter, n);
                } else {
                    series.add_folded(REST, counter, n);
                }
            }
        }
        Self {
            spec,
            members: HashMap::new(),
            candidates: Candidates::default(),
            series,
            since: now,
            now,
            folded_members: 0,
        }
    }

    /// The settings.
    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    /// Changes the settings. The dimensions must be the same. Members that no longer fit are folded.
    pub fn change(&mut self, spec: GroupSpec) {
        self.series.set_limit(spec.max_series);
        self.spec = spec;
        while self.members.len() > self.spec.top || self.series.is_over() {
            if !self.fold_lowest(|_| true) {
                break;
            }
        }
        self.series.collapse();
    }

    /// Adds what was counted between the last reading and this one, at `now`.
    pub fn add(&mut self, now: Duration, added: &Added) {
        let before = std::mem::replace(&mut self.now, now);
        self.rank(now.saturating_sub(before), added);
        self.expire();
        self.promote(before, added);
        for (values, rows) in added {
            self.add_rows(values, rows);
        }
    }

    /// Adds the calls of one value. Almost all counters have their series already: then one look-up of
    /// the syscall is enough.
    fn add_rows(&mut self, values: &Values, rows: &[(CallName, Counts)]) {
        let known = match self.members.get_mut(values) {
            Some(member) => Arc::make_mut(&mut member.rows),
            None => self.series.other_mut(),
        };
        let mut unknown = Vec::new();
        for (name, counts) in rows {
            match known.get_mut(name) {
                Some(row) if counts.are_in(row) => row.merge(counts),
                _ => unknown.push((*name, counts)),
            }
        }
        for (name, counts) in unknown {
            for (counter, n) in counts.present() {
                self.add_to(values, name, counter, n);
            }
        }
    }

    fn rank(&mut self, elapsed: Duration, added: &Added) {
        let factor = decay(elapsed);
        self.candidates.decay(factor);
        self.members.values_mut().for_each(|member| member.score *= factor);
        for (values, rows) in added {
            let gained: u64 = rows.iter().map(|(_, counts)| self.spec.rank_by.of(counts)).sum();
            match self.members.get_mut(values) {
                Some(member) => {
                    member.score += gained as f64;
                    member.seen = self.now;
                }
                None if is_reserved(values) => {}
                None => self.candidates.add(values, gained as f64),
            }
        }
    }

    fn expire(&mut self) {
        let (now, expire) = (self.now, self.spec.expire);
        let is_gone = |member: &Member| now.saturating_sub(member.seen) > expire;
        let gone: Vec<Values> = self
            .members
            .iter()
            .filter(|(_, member)| is_gone(member))
            .map(|(values, _)| Arc::clone(values))
            .collect();
        gone.iter().for_each(|values| self.fold(values));
    }

    /// Makes the values that rank first members. While the group has fewer than `top` members, a
    /// value is a member from its first call on. After that, a value replaces the last member if
    /// its score is clearly higher.
    fn promote(&mut self, before: Duration, added: &Added) {
        let calling = |values: &Values| added.contains_key(values);
        let mut ranked = self.candidates.ranked(calling);
        while let Some((score, values)) = ranked.pop() {
            if !self.has_room() && !self.make_room(score) {
                break;
            }
            self.candidates.remove(&values);
            let member = Member {
                since: before,
                seen: self.now,
                score,
                rows: Arc::default(),
                refused: false,
            };
            self.members.insert(values, member);
        }
        // A member that was refused a series competes for series with other values.
        let refused = self.members.values().filter(|member| member.refused);
        let first = refused.map(|member| member.score).fold(0.0, f64::max);
        if first > 0.0 && !self.series.has_room(1) {
            self.make_room(first);
        }
        if self.series.has_room(1) {
            self.members.values_mut().for_each(|member| member.refused = false);
        }
    }

    fn has_room(&self) -> bool {
        self.members.len() < self.spec.top && self.series.has_room(1)
    }

    /// Folds the last member if `score` is clearly higher than its score.
    fn make_room(&mut self, score: f64) -> bool {
        let now = self.now;
        let yields = |member: &Member| {
            let is_settled = now.saturating_sub(member.since) >= HOLD;
            is_settled && score > member.score * HYSTERESIS
        };
        self.fold_lowest(yields) && self.has_room()
    }

    /// Folds the member with the lowest score for which `may` returns true.
    fn fold_lowest(&mut self, may: impl Fn(&Member) -> bool) -> bool {
        let lowest = self
            .members
            .iter()
            .filter(|(_, member)| may(member))
            .min_by(|(a_values, a), (b_values, b)| {
                // Equal scores are compared by value, so that the choice does not depend on the
                // order of a hash map.
                a.score.total_cmp(&b.score).then_with(|| a_values.cmp(b_values))
            })
            .map(|(values, _)| Arc::clone(values));
        match lowest {
            Some(values) => {
                self.fold(&values);
                true
            }
            None => false,
        }
    }

    /// Removes the series of a member.
    fn fold(&mut self, values: &Values) {
        let Some(member) = self.members.remove(values) else { return };
        self.series.fold(&member.rows);
        self.folded_members += 1;
        self.candidates.add(values, member.score);
    }

    fn add_to(&mut self, values: &Values, name: CallName, counter: Counter, n: u64) {
        let name = loop {
            if let Some(name) = self.series.admit(name, counter) {
                break name;
            }
            if !self.fold_lowest(|_| true) {
                break REST;
            }
        };
        let Some(member) = self.members.get_mut(values) else {
            return self.series.add_other(name, counter, n);
        };
        if self.series.take(&member.rows, name, counter) {
            Arc::make_mut(&mut member.rows).entry(name).or_default().add(counter, n);
        } else {
            member.refused = true;
            self.series.add_other(name, counter, n);
        }
    }

    /// The current state of the group. Shares its rows with later readings until they change.
    pub fn reading(&self) -> GroupReading {
        let member = |(values, member): (&Values, &Member)| GroupMember {
            values: Arc::clone(values),
            since: member.since,
            rows: Arc::clone(&member.rows),
        };
        GroupReading {
            name: Arc::clone(&self.spec.name),
            dimensions: Arc::clone(&self.spec.dimensions),
            since: self.since,
            members: self.members.iter().map(member).collect(),
            other: Arc::clone(self.series.other()),
            folded: Arc::clone(self.series.folded()),
            folded_members: self.folded_members,
            max_series: self.spec.max_series,
        }
    }
}

/// Whether series of a member with these values would be those of `other` or `folded`.
fn is_reserved(values: &Values) -> bool {
    [OTHER_VALUE, FOLDED_VALUE].iter().any(|reserved| values.iter().all(|value| value == reserved))
}

#[cfg(test)]
mod tests;

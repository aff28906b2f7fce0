//! Shares: how much of a pool each user can take. A pool has records of threads, or extents of
//! figures.
//!
//! The rule is that of dynamic thresholds in switches with shared memory (Choudhury and Hahne,
//! "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on
//! Networking, 1998). A user can take more as long as it holds less than a multiple of what is
//! free. With our multiple, a single user can hold four fifths of the pool, and two greedy users
//! four ninths each. The rest is free for the next user, so its first threads always get records.
//!
//! The rule does not depend on the number of users, and takes nothing back: a user keeps what it
//! holds until its threads end.

/// The reserve is one part in this many of a pool.
const PARTS: u64 = 5;

/// Entries in the table of users. A power of two.
pub const USERS: u32 = 1 << USERS_SHIFT;
const USERS_SHIFT: u32 = 12;

/// Index of a user id in the table of users. Users with the same index have one share together.
///
/// This is a multiplicative hash: the user ids of containers begin at multiples of 65,536, so their
/// lower bits are alike.
#[inline(always)]
pub const fn user(uid: u32) -> u32 {
    uid.wrapping_mul(0x9e37_79b1) >> (u32::BITS - USERS_SHIFT)
}

/// How much of a pool of this size a single user cannot take.
#[inline(always)]
pub const fn reserve(total: u64) -> u64 {
    if total < PARTS { 1 } else { total / PARTS }
}

/// How much of a pool of this size a single user can hold: all except the reserve, and at least 1.
#[inline(always)]
pub const fn limit(total: u64) -> u64 {
    if total <= 1 { 1 } else { total - reserve(total) }
}

/// Whether a user that holds `used` can take one more. The pool has `total`, and all users together
/// hold `in_use`.
#[inline(always)]
pub const fn may_take(used: u64, in_use: u64, total: u64) -> bool {
    // Sizes have 23 bits, so the products fit.
    let free = total.saturating_sub(in_use);
    used * reserve(total) < limit(total) * free
}

/// The size of a pool of which a single user can hold exactly `most`: it is a quarter larger.
#[inline(always)]
pub const fn with_reserve(most: u32) -> u32 {
    most + if most < 4 { 1 } else { most / 4 }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::HashSet, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::limits::{MAX_EXTENTS, MAX_THREADS};

    /// A pool, and what each user holds of it.
    struct Pool {
        total: u64,
        held: Vec<u64>,
    }

    impl Pool {
        fn new(total: u64, users: usize) -> Self {
            Self { total, held: vec![0; users] }
        }

        fn in_use(&self) -> u64 {
            self.held.iter().sum()
        }

        /// Whether the user got one more.
        fn take(&mut self, user: usize) -> bool {
            let may = may_take(self.held[user], self.in_use(), self.total);
            self.held[user] += u64::from(may);
            may
        }

        /// All that a user can get.
        fn take_all(&mut self, user: usize) -> u64 {
            while self.take(user) {}
            self.held[user]
        }
    }

    #[test]
    fn a_single_user_gets_exactly_its_threads() {
        let few = 1..=4_096;
        let more = (13..=22).map(|shift| 1_u32 << shift);
        let odd = [32_767, 32_769, 1_000_003, MAX_THREADS - 1, MAX_THREADS];
        for threads in few.chain(more).chain(odd) {
            let total = u64::from(with_reserve(threads));
            let threads = u64::from(threads);
            assert_eq!(limit(total), threads);
            assert!(may_take(threads - 1, threads - 1, total), "thread {threads}");
            assert!(!may_take(threads, threads, total), "thread {} of {threads}", threads + 1);
        }
    }

    #[test]
    fn the_smallest_pools_give_what_they_have() {
        assert!(!may_take(0, 0, 0));
        assert!(may_take(0, 0, 1) && !may_take(1, 1, 1));
        // Extent 0 is never handed out.
        for total in 2..u64::from(MAX_EXTENTS).min(2_000) {
            assert_eq!(limit(total), total - reserve(total));
            assert_eq!(Pool::new(total, 1).take_all(0), limit(total));
        }
    }

    #[test]
    fn after_a_greedy_user_another_gets_a_fifth_of_the_threads() {
        for threads in [100, 1_000, 32_768] {
            let mut pool = Pool::new(u64::from(with_reserve(threads)), 2);
            assert_eq!(pool.take_all(0), u64::from(threads));
            assert_eq!(pool.take_all(1), u64::from(threads).div_ceil(5));
        }
    }

    #[test]
    fn users_rarely_share_an_entry() {
        // People, services, and three users in each of many containers.
        let containers = (1..300).flat_map(|n| [0, 33, 999].map(|uid| n * 65_536 + uid));
        let uids: Vec<u32> = (0..100).chain(1_000..1_100).chain(containers).collect();
        let entries: HashSet<_> = uids.iter().map(|&uid| user(uid)).collect();
        assert!(entries.iter().all(|&entry| entry < USERS));
        // As many as at random: 1,097 in 4,096.
        assert!(entries.len() > uids.len() * 8 / 10, "{} of {}", entries.len(), uids.len());
        assert_ne!(user(0), user(1_000));
    }

    proptest! {
        /// As many threads as configured get a record each, whosever they are and in whatever
        /// order they come and end.
        #[test]
        fn any_mix_of_users_gets_all_of_the_threads(
            threads in 1..3_000_u32,
            turns in prop::collection::vec((0..8_usize, any::<bool>()), 1..4_000),
        ) {
            let mut pool = Pool::new(with_reserve(threads).into(), 8);
            for (user, ends) in turns {
                if ends {
                    pool.held[user] = pool.held[user].saturating_sub(1);
                } else if pool.in_use() < threads.into() {
                    prop_assert!(pool.take(user), "{:?} of {threads}", pool.held);
                }
            }
        }

        /// Whatever the others hold, nobody exceeds the limit, and a user that holds nothing
        /// gets one as long as any is free.
        #[test]
        fn nobody_exceeds_the_limit(
            total in 2..5_000_u64,
            turns in prop::collection::vec((0..6_usize, 1..900_u64), 1..60),
        ) {
            let mut pool = Pool::new(total, 6);
            for (user, times) in turns {
                let new = pool.held[user] == 0;
                let got = pool.take(user);
                prop_assert!(got || !new || pool.in_use() == total);
                (1..times).for_each(|_| { pool.take(user); });
                prop_assert!(pool.held[user] <= limit(total));
                prop_assert!(pool.in_use() <= total);
            }
        }

        /// Greedy users that take by turns end up with as much each, give or take one.
        #[test]
        fn greedy_users_get_equal_shares(total in 100..20_000_u64, users in 2..12_usize) {
            let mut pool = Pool::new(total, users);
            while (0..users).filter(|&user| pool.take(user)).count() > 0 {}
            let (least, most) = (pool.held.iter().min(), pool.held.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            let share = limit(total) * total / (reserve(total) + users as u64 * limit(total));
            prop_assert!(pool.held[0].abs_diff(share) <= 1, "{} and {share}", pool.held[0]);
        }
    }
}

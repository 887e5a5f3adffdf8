//! How often, and how many at once: for people and for addresses, in bounded memory.

use std::{
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::packed::Packed;

/// An address as limits count it: an IPv4 address, or the /64 of an IPv6 address, since one household or one
/// machine has all of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(u64);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        /// `ffff:ffff::/32` is multicast (RFC 4291 §2.7): nobody sends from there, so IPv4 fits in.
        const IPV4: u64 = 0xffff_ffff << 32;
        match address.to_canonical() {
            IpAddr::V4(address) => Client(IPV4 | u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Client(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

impl Client {
    /// Its bytes, for whoever wants a key of another kind.
    pub fn octets(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// A rate with room for bursts (the generic cell rate algorithm of ATM, ITU-T I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// One in this time, in the long run.
    pub every: Duration,
    /// So many at once after a rest; at least 1.
    pub burst: u32,
}

impl Gcra {
    /// So many in a time, at least 1, and so many at once after a rest.
    pub fn of(count: u32, time: Duration, burst: u32) -> Self {
        Gcra { every: time / count.max(1), burst }
    }
}

/// Too soon: the same will pass after this time, if nothing else does before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

/// One rate for many keys.
///
/// A key is remembered only until it is as if it had never come; each new key has a few old ones looked at and
/// forgotten when they are at rest. When it is full of keys that are not, the one of those few that is nearest
/// to rest is forgotten all the same. So a full store lets newcomers in and does not grow, and what it gives
/// away is small: whoever is forgotten gets at most one more burst, at the price of a key that was never seen,
/// which would have had a burst of its own anyway.
#[derive(Debug)]
pub struct Limits<K> {
    /// Between two at the rate, in ns.
    every: u64,
    /// What may be borrowed from the time to come, in ns.
    tolerance: u64,
    capacity: usize,
    /// When each key is at rest, in ns after `start`.
    rest: Packed<K, u64>,
    /// Place of the next entry to look at.
    hand: usize,
    /// When the first one came.
    start: Option<Instant>,
}

impl<K: Eq + Hash + Copy> Limits<K> {
    /// Entries looked at for each new key: more than one, so that what is at rest goes faster than it comes.
    const LOOK_AT: usize = 4;

    /// At most `capacity` keys are remembered, and at least one.
    pub fn new(rate: Gcra, capacity: usize) -> Self {
        // 2^64 ns are 584 years.
        let every = u64::try_from(rate.every.as_nanos()).unwrap_or(u64::MAX);
        let tolerance = every.saturating_mul(u64::from(rate.burst.max(1) - 1));
        Limits { every, tolerance, capacity, rest: Packed::default(), hand: 0, start: None }
    }

    /// Counts one more for this key, if the rate allows it.
    ///
    /// # Errors
    /// With the time to wait, when it does not; then nothing is counted.
    pub fn check(&mut self, key: K, now: Instant) -> Result<(), RetryAfter> {
        let start = *self.start.get_or_insert(now);
        // 2^64 ns are 584 years.
        let now = u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX / 2);
        let Some(rest) = self.rest.get_mut(&key) else {
            self.make_room(now);
            self.rest.insert(key, now + self.every);
            return Ok(());
        };
        let borrowed = rest.saturating_sub(now);
        if borrowed > self.tolerance {
            return Err(RetryAfter(Duration::from_nanos(borrowed - self.tolerance)));
        }
        *rest = now + borrowed + self.every;
        Ok(())
    }

    fn make_room(&mut self, now: u64) {
        let mut nearest: Option<(K, u64)> = None;
        for _ in 0..Self::LOOK_AT.min(self.rest.len()) {
            if self.hand >= self.rest.len() {
                self.hand = 0;
            }
            let Some(&(key, rest)) = self.rest.entries().get(self.hand) else { return };
            if rest <= now {
                // Another entry takes its place, which is looked at next.
                self.rest.remove(&key);
            } else {
                self.hand += 1;
                nearest = nearest.filter(|(_, least)| *least <= rest).or(Some((key, rest)));
            }
        }
        if let Some((key, _)) = nearest.filter(|_| self.rest.len() >= self.capacity) {
            self.rest.remove(&key);
        }
    }
}

/// How many of something each key has now, such as open streams. It holds no more keys than there are such
/// things.
#[derive(Debug)]
pub struct Counts<K>(Packed<K, u32>);

impl<K: Eq + Hash + Copy> Counts<K> {
    /// Nobody has any.
    #[allow(clippy::new_without_default)] // like `Limits`, which has no default
    pub fn new() -> Self {
        Counts(Packed::default())
    }

    /// One more for this key, unless it has `max` already.
    #[must_use]
    pub fn take(&mut self, key: K, max: u32) -> bool {
        match self.0.get_mut(&key) {
            Some(count) if *count >= max => return false,
            Some(count) => *count += 1,
            None if max == 0 => return false,
            None => drop(self.0.insert(key, 1)),
        }
        true
    }

    /// One less.
    pub fn release(&mut self, key: K) {
        match self.0.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.0.remove(&key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::Ipv6Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::event::UserId;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    proptest! {
        #[test]
        fn no_window_has_more_than_the_rate(
            per_second in 1u32..200, burst in 1u32..30, pauses in vec(0u64..400_000_000, 1..200),
        ) {
            let mut limits = Limits::new(Gcra::of(per_second, SECOND, burst), 8);
            let (start, mut at, mut passed) = (Instant::now(), 0, Vec::new());
            for pause in pauses {
                // Often many at once, sometimes a long rest.
                at += if pause % 3 == 0 { 0 } else { pause };
                if limits.check('a', start + Duration::from_nanos(at)).is_ok() {
                    passed.push(at);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                for (n, to) in (1..).zip(&passed[i..]) {
                    prop_assert!(n <= u64::from(burst) + (to - from) / limits.every);
                }
            }
        }

        #[test]
        fn whoever_keeps_to_the_rate_is_never_refused(
            per_second in 1u32..200, burst in 1u32..30, extra in vec(0u64..1_000_000, 1..200), others in 0usize..20,
        ) {
            let mut limits = Limits::new(Gcra::of(per_second, SECOND, burst), 32);
            let mut now = Instant::now();
            for extra in extra {
                for other in 1..=others {
                    _ = limits.check(other, now);
                }
                prop_assert_eq!(limits.check(0, now), Ok(()));
                now += Duration::from_nanos(limits.every + extra);
            }
        }

        #[test]
        fn after_the_time_to_wait_it_passes(burst in 1u32..30, per_second in 1u32..200) {
            let mut limits = Limits::new(Gcra::of(per_second, SECOND, burst), 8);
            let mut now = Instant::now();
            for _ in 0..burst {
                prop_assert_eq!(limits.check((), now), Ok(()));
            }
            for _ in 0..10 {
                let RetryAfter(wait) = limits.check((), now).unwrap_err();
                prop_assert!(limits.check((), now + wait - Duration::from_nanos(1)).is_err());
                now += wait;
                prop_assert_eq!(limits.check((), now), Ok(()));
            }
        }

        #[test]
        fn counts_are_counted(steps in vec((any::<bool>(), 0..6u8), 0..200), max in 0u32..4) {
            let (mut counts, mut model) = (Counts::new(), HashMap::<u8, u32>::new());
            for (taken, key) in steps {
                let count = model.entry(key).or_default();
                if taken {
                    prop_assert_eq!(counts.take(key, max), *count < max);
                    *count = (*count + 1).min(max);
                } else if *count > 0 {
                    counts.release(key);
                    *count -= 1;
                }
                prop_assert_eq!(counts.0.len(), model.values().filter(|count| **count > 0).count());
            }
        }
    }

    #[test]
    fn a_full_store_does_not_grow_and_locks_nobody_out() {
        let mut limits = Limits::new(Gcra::of(1, SECOND, 2), 64);
        let mut now = Instant::now();
        for key in 0..10_000 {
            assert_eq!(limits.check(key, now), Ok(()));
            assert!(limits.rest.len() <= 64);
            now += MS / 10;
        }
    }

    #[test]
    fn whoever_goes_on_and_on_is_not_the_one_to_be_forgotten() {
        let mut limits = Limits::new(Gcra::of(5, SECOND, 20), 64);
        let now = Instant::now();
        let mut passed = 0;
        for key in 1..10_000 {
            passed += i32::from(limits.check(0, now).is_ok());
            _ = limits.check(key, now);
        }
        assert_eq!(passed, 20);
    }

    #[test]
    fn whoever_is_at_rest_is_forgotten() {
        let mut limits = Limits::new(Gcra::of(10, SECOND, 1), 65_536);
        let mut now = Instant::now();
        for key in 0..10_000 {
            assert_eq!(limits.check(key, now), Ok(()));
            now += MS;
        }
        assert!(limits.rest.len() < 150, "{} entries for the 100 that matter", limits.rest.len());
    }

    #[test]
    fn a_person_costs_few_bytes() {
        let mut limits = Limits::new(Gcra::of(5, SECOND, 20), 65_536);
        let mut counts = Counts::new();
        let now = Instant::now();
        for n in 1..=65_536 {
            let user = UserId::random();
            assert_eq!(limits.check(user, now), Ok(()));
            assert!(counts.take(user, 30));
            assert!(n < 100 || limits.rest.bytes() <= 48 * n && counts.0.bytes() <= 48 * n);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let client = |s: &str| Client::from(s.parse::<IpAddr>().unwrap());
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_ne!(client("0.0.0.0"), Client::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
    }
}

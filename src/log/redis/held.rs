//! What this pod has taken and the archive does not have yet: what it can give back to a server that lost it.

use std::collections::VecDeque;

use crate::event::{Entry, PARTITIONS};

/// Bytes that an entry takes beside its text, about.
const OVERHEAD: usize = 400;

/// Entries by partition, in the order of the partition's counter, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Held {
    partitions: Vec<VecDeque<(u64, Entry)>>,
    /// The highest place that was given to this pod in each partition, whether it is still held or not.
    places: Vec<u64>,
    bytes: usize,
    limit: usize,
}

impl Held {
    pub(crate) fn new(limit: usize) -> Self {
        let partitions = (0..PARTITIONS).map(|_| VecDeque::new()).collect();
        Held { partitions, places: vec![0; PARTITIONS.into()], bytes: 0, limit }
    }

    /// Is there no room for more? Then nothing more may be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    /// The log gave this entry the place `n` of the partition.
    pub(crate) fn hold(&mut self, partition: u8, n: u64, entry: Entry) {
        self.bytes += size(&entry);
        let highest = &mut self.places[usize::from(partition)];
        *highest = n.max(*highest);
        let held = &mut self.partitions[usize::from(partition)];
        // Answers come nearly in order; what was overtaken goes where it belongs.
        let at = held.iter().rposition(|(before, _)| *before < n).map_or(0, |before| before + 1);
        held.insert(at, (n, entry));
    }

    /// The archive has everything of the partition up to `n`.
    pub(crate) fn release(&mut self, partition: u8, n: u64) {
        let held = &mut self.partitions[usize::from(partition)];
        while let Some((_, entry)) = held.pop_front_if(|(oldest, _)| *oldest <= n) {
            self.bytes -= size(&entry);
        }
        if held.is_empty() {
            *held = VecDeque::new();
        }
    }

    /// Everything, to be given back; it stays held until [`Held::clear`].
    pub(crate) fn all(&self) -> Vec<Entry> {
        self.partitions.iter().flatten().map(|(_, entry)| entry.clone()).collect()
    }

    /// All of it is safe elsewhere.
    pub(crate) fn clear(&mut self) {
        *self = Held::new(self.limit);
    }

    /// Partitions of which something is held.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = u8> {
        (0..PARTITIONS).filter(|p| !self.partitions[usize::from(*p)].is_empty())
    }

    /// The highest place that was given to this pod in each partition.
    pub(crate) fn places(&self) -> Vec<u64> {
        self.places.clone()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(entry: &Entry) -> usize {
    OVERHEAD + entry.event.text.as_ref().map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::event::RoomId;
    use crate::log::redis::tests::event;

    fn entry(n: u64) -> Entry {
        Entry { room: RoomId(Uuid::nil()), event: event(n), key: None }
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_was_taken_and_is_not_archived(
            steps in proptest::collection::vec((0u8..3, 1u64..100, any::<bool>()), 0..80),
        ) {
            let mut held = Held::new(10_000);
            let mut model: Vec<(u8, u64)> = Vec::new();
            for (partition, n, is_release) in steps {
                if is_release {
                    held.release(partition, n);
                    model.retain(|(p, m)| *p != partition || *m > n);
                } else if !model.contains(&(partition, n)) {
                    held.hold(partition, n, entry(n));
                    model.push((partition, n));
                }
            }
            model.sort_unstable();
            let all: Vec<_> = held.all().iter().map(|entry| entry.event.seq.0).collect();
            prop_assert_eq!(all, model.iter().map(|(_, n)| *n).collect::<Vec<_>>());
            prop_assert_eq!(held.bytes(), model.iter().map(|(_, n)| size(&entry(*n))).sum::<usize>());
            prop_assert_eq!(held.is_full(), held.bytes() >= 10_000);
            held.clear();
            prop_assert_eq!((held.bytes(), held.partitions().count()), (0, 0));
            prop_assert_eq!(held.places().iter().sum::<u64>(), 0);
        }
    }
}

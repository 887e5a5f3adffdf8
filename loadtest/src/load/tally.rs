//! How many readers have which event.

use super::counter::Note;
use crate::cursor::Cursor;
use std::time::Instant;

/// Counts what all readers got in sum and, for each group of readers of one room, when the last of them got each
/// event.
#[derive(Default)]
pub(crate) struct Tally {
    /// Bytes received.
    pub(crate) bytes: u64,
    /// `ping`s received.
    pub(crate) pings: u64,
    /// `presence`s received.
    pub(crate) presence: u64,
    /// Other named events received.
    pub(crate) others: u64,
    /// Entries of the log received.
    pub(crate) deliveries: u64,
    groups: Vec<Group>,
}

#[derive(Default)]
struct Group {
    readers: usize,
    /// The place before the first event that is watched.
    start: Option<Cursor>,
    events: Vec<Watched>,
}

#[derive(Clone, Copy, Default)]
struct Watched {
    readers: usize,
    complete: Option<Instant>,
}

impl Tally {
    /// One more reader belongs to this group.
    pub(crate) fn enter(&mut self, group: usize) {
        if group >= self.groups.len() {
            self.groups.resize_with(group + 1, Group::default);
        }
        self.groups[group].readers += 1;
    }

    /// So many readers are in this group.
    pub(crate) fn readers_in(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.readers)
    }

    /// Watches this group's events after this cursor, and forgets the earlier ones.
    pub(crate) fn watch_after(&mut self, group: usize, start: Cursor) {
        if let Some(group) = self.groups.get_mut(group) {
            group.start = Some(start);
            group.events.clear();
        }
    }

    /// When the last reader of the group got this event, if all have it; at once where there are no readers.
    pub(crate) fn complete(&self, group: usize, cursor: Cursor) -> Option<Instant> {
        match self.groups.get(group) {
            Some(group) if group.readers > 0 => group.event(cursor)?.complete,
            _ => Some(Instant::now()),
        }
    }

    /// How many readers of the group have got this event.
    pub(crate) fn readers_with(&self, group: usize, cursor: Cursor) -> usize {
        self.groups.get(group).and_then(|group| group.event(cursor)).map_or(0, |watched| watched.readers)
    }

    /// A reader got all events after `from` up to `to`.
    pub(crate) fn delivered(&mut self, group: usize, from: Cursor, to: Cursor) {
        let group = &mut self.groups[group];
        let mut cursor = from;
        while cursor < to {
            cursor = cursor.next();
            self.deliveries += 1;
            group.delivered(cursor);
        }
    }

    pub(crate) fn note(&mut self, group: usize, note: Note) {
        match note {
            Note::Event(cursor) => {
                self.deliveries += 1;
                self.groups[group].delivered(cursor);
            }
            Note::Hello(_) | Note::Live | Note::Asked(_) => {}
            Note::Ping => self.pings += 1,
            Note::Presence => self.presence += 1,
            Note::Other => self.others += 1,
        }
    }
}

impl Group {
    fn event(&self, cursor: Cursor) -> Option<&Watched> {
        self.events.get(self.place(cursor)?)
    }

    /// A reader got an event. That no reader gets one twice is the [`Counter`](super::counter::Counter)'s business.
    fn delivered(&mut self, cursor: Cursor) {
        let Some(place) = self.place(cursor) else { return };
        if place >= self.events.len() {
            self.events.resize(place + 1, Watched::default());
        }
        let watched = &mut self.events[place];
        watched.readers += 1;
        if watched.readers == self.readers {
            watched.complete = Some(Instant::now());
        }
    }

    fn place(&self, cursor: Cursor) -> Option<usize> {
        let start = self.start.filter(|start| start.epoch == cursor.epoch)?;
        usize::try_from(cursor.seq.checked_sub(start.seq + 1)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_complete_when_the_last_reader_of_its_group_has_it() {
        let mut tally = Tally::default();
        for group in [0, 1, 1, 1] {
            tally.enter(group);
        }
        let at = |seq| Cursor::new(1, seq);
        tally.watch_after(0, at(10));
        tally.watch_after(1, at(10));
        for seq in [9, 11, 11, 12, 11] {
            tally.note(1, Note::Event(at(seq)));
        }
        assert!(tally.complete(1, at(11)).is_some());
        assert_eq!((tally.complete(1, at(12)), tally.complete(0, at(11))), (None, None));
        let with = |seq| tally.readers_with(1, at(seq));
        assert_eq!((with(12), with(9), tally.readers_with(0, at(11))), (1, 0, 0));
        assert_eq!((tally.deliveries, tally.readers_in(1), tally.readers_in(7)), (5, 3, 0));
        assert!(tally.complete(7, at(11)).is_some(), "nobody is waited for");
    }
}

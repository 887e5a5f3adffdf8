//! How many readers have which event.

use super::counter::Note;
use crate::cursor::Cursor;
use std::time::Instant;

/// Counts what all readers got in sum, and when the last of them got each event.
#[derive(Default)]
pub(crate) struct Tally {
    /// Readers opened.
    pub(crate) readers: usize,
    /// Of these, live.
    pub(crate) live: usize,
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
    /// Watches the events after this cursor, and forgets the earlier ones.
    pub(crate) fn watch_after(&mut self, start: Cursor) {
        self.start = Some(start);
        self.events.clear();
    }

    /// When the last reader got this event, if all have it.
    pub(crate) fn complete(&self, cursor: Cursor) -> Option<Instant> {
        self.events.get(self.place(cursor)?)?.complete
    }

    /// How many readers have got this event.
    pub(crate) fn readers_of(&self, cursor: Cursor) -> usize {
        self.place(cursor).and_then(|place| self.events.get(place)).map_or(0, |watched| watched.readers)
    }

    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::Event(cursor) => self.delivered(cursor),
            Note::Live => self.live += 1,
            Note::Hello(_) | Note::Asked(_) => {}
            Note::Ping => self.pings += 1,
            Note::Presence => self.presence += 1,
            Note::Other => self.others += 1,
        }
    }

    /// A reader got an event. That no reader gets one twice is the [`Counter`](super::counter::Counter)'s business.
    fn delivered(&mut self, cursor: Cursor) {
        self.deliveries += 1;
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
    fn an_event_is_complete_when_the_last_reader_has_it() {
        let mut tally = Tally { readers: 3, ..Tally::default() };
        let at = |seq| Cursor::new(1, seq);
        tally.watch_after(at(10));
        for seq in [9, 11, 11, 12, 11] {
            tally.note(Note::Event(at(seq)));
        }
        assert!(tally.complete(at(11)).is_some());
        assert_eq!((tally.complete(at(12)), tally.readers_of(at(12)), tally.readers_of(at(9))), (None, 1, 0));
        assert_eq!(tally.deliveries, 5);
    }
}

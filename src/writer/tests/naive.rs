//! What people do in rooms with members, held against lists that could not be simpler.

use std::collections::{BTreeMap, HashMap};

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::event::{Event, FrameKind, ListPlace, Listed, MOST_UNREAD, Right};

const PEOPLE: usize = 4;

/// A room and all that ever happened in it.
struct Naive {
    room: Room,
    shape: Shape,
    /// Each with whether its text was taken away. Seqs count from 1.
    events: Vec<(Placed, EventKind, usize, bool)>,
    members: BTreeMap<usize, u64>,
    read: BTreeMap<usize, u64>,
    delivered: usize,
}

struct Scene {
    bed: Bed,
    owner: Owner,
    people: Vec<User>,
    rooms: Vec<Naive>,
    /// What should be in the inboxes: of whom, of which room, which events.
    inboxes: BTreeMap<(usize, usize), Vec<u64>>,
}

/// What is done, by whom, where, and with what.
type Step = (u8, usize, usize, usize);

/// Of a listed room: which, its tip, the mark, what is unread, and who is in it with how far they have read.
type Summary = (usize, u64, u64, usize, Vec<(usize, u64)>);

impl Scene {
    async fn begin(&mut self) {
        self.people = (0..PEOPLE).map(|n| user(&format!("P{n}"))).collect();
        (self.rooms, self.inboxes) = (Vec::new(), BTreeMap::new());
        for (shape, who) in [
            (Shape::Direct, vec![0, 1]),
            (Shape::Group, vec![0, 1, 2]),
            (Shape::Group, vec![1, 2]),
            (Shape::Direct, vec![2, 0]),
        ] {
            let others: Vec<&User> = who[1..].iter().map(|n| &self.people[*n]).collect();
            for user in &self.people {
                self.bed.archive.know(user, None).await.unwrap();
            }
            let room = self.bed.room(shape, &self.people[who[0]], &others).await;
            let last = self.bed.log.page(&room, crate::event::Part::Newest, 1).await.unwrap().pop().unwrap();
            let placed = Placed {
                id: last.id,
                cursor: last.cursor(),
                ts: last.ts,
                duplicate: false,
                durability: Ack::Buffered,
            };
            let members = who.iter().map(|n| (*n, 1)).collect();
            let read = who.iter().map(|n| (*n, 0)).collect();
            let events = vec![(placed, EventKind::Join, who[0], false)];
            self.rooms.push(Naive { room, shape, events, members, read, delivered: 0 });
        }
    }

    async fn take(&mut self, (what, who, at, with): Step) {
        let naive = &mut self.rooms[at];
        let (me, tip) = (&self.people[who], naive.events.len());
        let is_member = naive.members.contains_key(&who);
        let target = with % tip;
        let (placed, kind, author, gone) = naive.events[target];
        let is_message = kind == EventKind::Message && !gone;
        let seq = placed.cursor.seq;
        let other = with % PEOPLE;
        let (draft, kind, subject, expected) = match what {
            0..=3 => (message("hi"), EventKind::Message, who, is_member.then_some(Ok(()))),
            4 => {
                let draft = Draft::Edit { target: seq, text: "new".parse().unwrap() };
                let verdict = if author == who { Ok(()) } else { Err(LogErrorKind::NotYours) };
                (draft, EventKind::Edit, who, (is_member && is_message).then_some(verdict))
            }
            5 => {
                let draft = Draft::Delete { target: seq, right: Right::Author };
                let verdict = if author == who { Ok(()) } else { Err(LogErrorKind::NotYours) };
                (draft, EventKind::Delete, who, (is_member && is_message).then_some(verdict))
            }
            6 => {
                let draft = Draft::Delete { target: seq, right: Right::Moderator };
                (draft, EventKind::Delete, who, is_message.then_some(Ok(())))
            }
            7 if naive.shape == Shape::Group => {
                let draft = Draft::Join { member: self.people[other].clone() };
                let is_in = naive.members.contains_key(&other);
                let verdict = if is_in { Err(LogErrorKind::NoChange) } else { Ok(()) };
                (draft, EventKind::Join, other, is_member.then_some(verdict))
            }
            8 if naive.shape == Shape::Group => {
                let draft = Draft::Leave { member: self.people[other].clone() };
                let is_in = naive.members.contains_key(&other);
                let verdict = if is_in { Ok(()) } else { Err(LogErrorKind::NoChange) };
                (draft, EventKind::Leave, other, (is_member || other != who).then_some(verdict))
            }
            9 => {
                let seq = (with % (tip + 3)) as u64;
                let marked = self.bed.log.mark_read(naive.room.id, me.id, Seq(seq)).await.map_err(|e| e.kind);
                let Some(read) = naive.read.get_mut(&who) else {
                    assert_eq!(marked, Err(LogErrorKind::NotFound));
                    return;
                };
                let now = seq.min(tip as u64).max(*read);
                assert_eq!(marked, Ok((now > *read).then_some(Seq(now))));
                *read = now;
                return;
            }
            10 => return self.owner.store(&self.bed.archive, 1 + with).await,
            11 => {
                self.bed.redis_log.keep_marks(&self.owner.owned).await.unwrap();
                return;
            }
            12 => return self.check().await,
            _ => return,
        };
        let said = self.bed.say(&naive.room, me, draft).await;
        let expected = expected.unwrap_or(Err(LogErrorKind::NotFound));
        assert_eq!(said.map(|_| ()), expected, "{what} by {who} in {at} with {with}");
        let Ok(placed) = said else { return };
        naive.happened(placed, kind, subject, target);
    }

    /// As the inboxes are filled with what nobody filled them with yet.
    async fn deliver(&mut self) {
        self.owner.deliver().await;
        for (at, naive) in self.rooms.iter_mut().enumerate() {
            for (placed, kind, who, _) in &naive.events[naive.delivered..] {
                let seq = placed.cursor.seq.0;
                let members = naive.members.iter().filter(|(_, from)| **from <= seq).map(|(who, _)| *who);
                let leaver = (*kind == EventKind::Leave).then_some(*who);
                for to in members.chain(leaver) {
                    self.inboxes.entry((to, at)).or_default().push(seq);
                }
            }
            naive.delivered = naive.events.len();
        }
    }

    async fn check(&mut self) {
        // Lists do not wait for inboxes.
        for who in 0..PEOPLE {
            let me = self.people[who].id;
            let all = self.bed.log.rooms_of(me, None, 100).await.unwrap();
            assert_eq!(self.summary(&all), self.expected(who), "the list of {who}");
            let mut paged: Vec<Listed> = Vec::new();
            loop {
                let after: Option<ListPlace> = paged.last().map(|listed| listed.place);
                let page = self.bed.log.rooms_of(me, after, 1).await.unwrap();
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, all, "in pages");
        }
        self.deliver().await;
        for who in 0..PEOPLE {
            self.check_inbox(who).await;
        }
    }

    async fn check_inbox(&self, who: usize) {
        let frames = self.bed.inbox(&self.people[who]).await;
        let pairs = frames.windows(2);
        assert!(pairs.into_iter().all(|pair| pair[1].cursor.seq == pair[0].cursor.seq.next()), "no holes");
        let mut gone = frames.iter().filter(|frame| frame.kind == FrameKind::Gone).count();
        for (at, naive) in self.rooms.iter().enumerate() {
            let wanted = self.inboxes.get(&(who, at)).cloned().unwrap_or_default();
            let from = naive.members.get(&who);
            let is_given = |seq: &u64| {
                let (_, kind, subject, _) = naive.events[*seq as usize - 1];
                from.is_some_and(|from| seq >= from) || (kind == EventKind::Leave && subject == who)
            };
            let given: Vec<u64> = wanted.iter().copied().filter(is_given).collect();
            gone -= wanted.len() - given.len();
            let log = self.bed.log.read(&naive.room, Seq(0), 1000).await.unwrap();
            let json: HashMap<u64, _> = log.iter().map(|frame| (frame.cursor.seq.0, frame.json())).collect();
            let of_room = frames.iter().filter(|frame| frame.origin.is_some_and(|o| o.room == naive.room.id));
            let found: Vec<(u64, _)> =
                of_room.map(|frame| (frame.origin.unwrap().seq.0, frame.json())).collect();
            let wanted: Vec<(u64, _)> = given.iter().map(|seq| (*seq, json[seq].clone())).collect();
            assert_eq!(found, wanted, "the inbox of {who} of room {at}");
        }
        assert_eq!(gone, 0);
    }

    fn expected(&self, who: usize) -> Vec<Summary> {
        let mut mine: Vec<_> =
            self.rooms.iter().enumerate().filter(|(_, naive)| naive.members.contains_key(&who)).collect();
        mine.sort_by_key(|(_, naive)| std::cmp::Reverse((naive.events.last().unwrap().0.ts, naive.room.id)));
        let one = |(at, naive): (usize, &Naive)| {
            let read = naive.read[&who];
            let unread = naive.events.iter().filter(|(placed, kind, author, gone)| {
                *kind == EventKind::Message && !gone && *author != who && placed.cursor.seq.0 > read
            });
            let members = naive.read.iter().map(|(who, read)| (*who, *read)).collect();
            (at, naive.events.len() as u64, read, unread.count().min(MOST_UNREAD), members)
        };
        mine.into_iter().map(one).collect()
    }

    fn summary(&self, listed: &[Listed]) -> Vec<Summary> {
        let index = |user: UserId| self.people.iter().position(|person| person.id == user).unwrap();
        let one = |it: &Listed| {
            let at = self.rooms.iter().position(|naive| naive.room.id == it.room.id).unwrap();
            let (placed, kind, ..) = self.rooms[at].events.last().unwrap();
            let last: &Event = it.last.as_ref().unwrap();
            assert_eq!(
                (last.id, last.cursor(), last.kind, it.tip),
                (placed.id, placed.cursor, *kind, placed.cursor)
            );
            assert_eq!(it.place, ListPlace { ts: placed.ts, room: it.room.id });
            let mut members: Vec<_> =
                it.room.members.iter().map(|member| (index(member.user.id), member.read.0)).collect();
            members.sort_unstable();
            (at, it.tip.seq.0, it.read.0, it.unread, members)
        };
        listed.iter().map(one).collect()
    }
}

impl Naive {
    fn happened(&mut self, placed: Placed, kind: EventKind, who: usize, target: usize) {
        let seq = placed.cursor.seq.0;
        self.events.push((placed, kind, who, false));
        assert_eq!(seq, self.events.len() as u64);
        match kind {
            EventKind::Message => {
                self.read.insert(who, seq);
            }
            EventKind::Delete => self.events[target].3 = true,
            EventKind::Join => {
                self.members.insert(who, seq);
                self.read.insert(who, seq - 1);
            }
            EventKind::Leave => {
                self.members.remove(&who);
                self.read.remove(&who);
            }
            EventKind::Edit => {}
        }
    }
}

#[test]
fn lists_marks_and_inboxes_are_what_lists_would_be_wherever_the_archive_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut scene = runtime.block_on(async {
        let bed = Bed::new(Ack::Buffered).await;
        let owner = Owner::new(&bed, Uuid::now_v7()).await;
        Scene { bed, owner, people: Vec::new(), rooms: Vec::new(), inboxes: BTreeMap::new() }
    });
    let step = (0u8..13, 0..PEOPLE, 0usize..4, 0usize..40);
    let steps = proptest::collection::vec(step, 1..60);
    let scene = std::cell::RefCell::new(&mut scene);
    let mut runner =
        TestRunner::new(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) });
    let outcome = runner.run(&steps, |steps| {
        let mut scene = scene.borrow_mut();
        runtime.block_on(async {
            scene.begin().await;
            for step in steps {
                scene.take(step).await;
            }
            scene.check().await;
        });
        Ok(())
    });
    outcome.unwrap();
}

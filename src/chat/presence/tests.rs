use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::*;
use crate::event::Lang;

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u32) -> UserId {
    UserId(Uuid::from_u128(n.into()))
}

fn name(n: u32) -> Name {
    format!("p{n}").parse().unwrap()
}

/// A room, a clock, and somebody in the room who believes what they are told.
struct Scene {
    presence: Presence,
    now: Instant,
    told: Vec<(Instant, Change)>,
    believed: BTreeSet<UserId>,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        Scene {
            presence: Presence::new(rules),
            now: Instant::now(),
            told: Vec::new(),
            believed: BTreeSet::new(),
        }
    }

    fn enter(&mut self, n: u32) {
        let change = self.presence.enter(id(n), &name(n), UserKind::Guest, self.now);
        self.hear(change);
    }

    fn leave(&mut self, n: u32) {
        self.presence.leave(id(n), self.now);
    }

    fn tick(&mut self) {
        let change = self.presence.tick(self.now);
        self.hear(change);
    }

    /// Time passes, with a tick whenever one is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.presence.due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.tick();
            assert!(self.presence.due().is_none_or(|due| due > self.now), "a tick left something due");
        }
        self.now = end;
    }

    fn hear(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        for person in &change.left {
            assert!(self.believed.remove(&person.id), "{person:?} left twice");
        }
        for person in &change.joined {
            assert!(self.believed.insert(person.id), "{person:?} joined twice");
        }
        assert!(!change.joined.is_empty() || !change.left.is_empty());
        self.told.push((self.now, change));
    }

    /// What was told since the last time, in words.
    fn words(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
        told.iter().map(|(_, change)| change.told_in(Lang::En).text).collect()
    }
}

#[test]
fn a_person_is_counted_across_their_tabs() {
    let mut scene = Scene::new(Rules::default());
    scene.enter(1);
    scene.enter(1);
    assert_eq!(scene.words(), ["p1 joined"]);
    scene.leave(1);
    scene.pass(60 * SECOND);
    assert_eq!((scene.words().len(), scene.presence.online()), (0, 1));
    scene.leave(1);
    scene.leave(1);
    assert_eq!((scene.words().len(), scene.presence.online()), (0, 1));
    scene.pass(60 * SECOND);
    assert_eq!(scene.words(), ["p1 left"]);
    assert_eq!((scene.presence.online(), scene.presence.due()), (0, None));
}

#[test]
fn a_leave_comes_once_after_the_grace() {
    let mut scene = Scene::new(Rules::default());
    scene.enter(1);
    scene.leave(1);
    scene.pass(Duration::from_millis(9_999));
    assert_eq!(scene.words(), ["p1 joined"]);
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.words(), ["p1 left"]);
    scene.pass(60 * SECOND);
    assert_eq!(scene.words().len(), 0);
}

#[test]
fn nothing_is_said_of_somebody_who_returns_within_the_grace() {
    let mut scene = Scene::new(Rules::default());
    scene.enter(1);
    for _ in 0..5 {
        scene.leave(1);
        scene.pass(9 * SECOND);
        scene.enter(1);
        scene.pass(9 * SECOND);
    }
    assert_eq!(scene.words(), ["p1 joined"]);
    // As long as it was not said, it is not too late.
    scene.leave(1);
    scene.now += 11 * SECOND;
    scene.enter(1);
    scene.tick();
    assert_eq!(scene.words().len(), 0);
}

#[test]
fn a_new_name_is_the_one_that_leaves() {
    let mut scene = Scene::new(Rules::default());
    scene.enter(1);
    scene.enter(2);
    scene.presence.rename(id(1), &"Ann".parse().unwrap());
    scene.leave(1);
    scene.leave(2);
    scene.presence.rename(id(2), &"Bob".parse().unwrap());
    scene.presence.rename(id(3), &"Cho".parse().unwrap());
    let mut names: Vec<String> = scene.presence.people(9).iter().map(|user| user.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["Ann", "Bob"]);
    assert_eq!(scene.presence.people(1).len(), 1);
    scene.pass(10 * SECOND);
    assert_eq!(scene.words(), ["p1 joined", "p2 joined", "Ann and Bob left"]);
}

#[test]
fn many_people_are_told_of_in_a_digest() {
    let mut scene = Scene::new(Rules::default());
    for n in 0..49 {
        scene.enter(n);
    }
    assert_eq!(scene.words().len(), 49);
    scene.pass(SECOND);
    for n in 49..60 {
        scene.enter(n);
    }
    assert_eq!(scene.words(), ["p49 joined"], "the first after a quiet second need not wait");
    assert_eq!(scene.presence.due(), Some(scene.now + SECOND));
    scene.pass(SECOND);
    assert_eq!(scene.words(), ["p50, p51 and 8 others joined"]);

    for n in 0..21 {
        scene.leave(n);
    }
    scene.pass(10 * SECOND);
    assert_eq!(scene.words(), ["p0, p1 and 19 others left"]);
    assert_eq!(scene.presence.online(), 39);
    scene.enter(100);
    scene.enter(101);
    assert_eq!(scene.words(), ["p100 joined", "p101 joined"], "of fewer than 40, one by one");
}

#[test]
fn whoever_goes_and_comes_between_two_digests_does_not_appear() {
    let rules = Rules { digest_from: 2, digest_until: 1, ..Rules::default() };
    let mut scene = Scene::new(rules);
    for n in 0..3 {
        scene.enter(n);
    }
    scene.pass(5 * SECOND);
    scene.leave(0);
    scene.pass(Duration::from_millis(9_500));
    scene.enter(7);
    scene.words();
    scene.pass(Duration::from_millis(600)); // 0 is out, which was not told yet
    assert_eq!((scene.words().len(), scene.presence.online()), (0, 3));
    scene.enter(0);
    scene.pass(10 * SECOND);
    assert_eq!(scene.words().len(), 0);

    // A grace shorter than the digest's second, so that coming and going fit into one.
    let mut scene = Scene::new(Rules { grace: SECOND / 10, ..rules });
    for n in 0..3 {
        scene.enter(n);
    }
    scene.pass(5 * SECOND);
    scene.enter(3);
    scene.words();
    scene.enter(4);
    scene.leave(4);
    scene.pass(SECOND / 5);
    scene.enter(4);
    scene.leave(4);
    scene.pass(5 * SECOND);
    assert_eq!((scene.words().len(), scene.presence.online()), (0, 4));
}

#[test]
fn names_are_capped_and_the_number_is_exact() {
    let mut scene = Scene::new(Rules { digest_every: 10 * SECOND, ..Rules::default() });
    for n in 0..300 {
        scene.enter(n);
    }
    scene.pass(10 * SECOND);
    let (_, change) = scene.told.pop().unwrap();
    assert_eq!((change.joined.len(), change.joined_unnamed, change.online), (50, 201, 300));
    assert!(change.told_in(Lang::En).text.ends_with(" and 249 others joined"));
    scene.believed = (0..300).map(id).collect();

    for n in 0..100 {
        scene.leave(n);
        scene.enter(1000 + n);
    }
    scene.pass(10 * SECOND);
    let (_, change) = scene.told.pop().unwrap();
    assert_eq!((change.joined.len(), change.joined_unnamed), (25, 75));
    assert_eq!((change.left.len(), change.left_unnamed, change.online), (25, 75, 300));
}

#[test]
fn a_change_has_its_fields_in_order() {
    let mut presence = Presence::new(Rules::default());
    let name = "하늘".parse().unwrap();
    let change = presence.enter(id(1), &name, UserKind::Guest, Instant::now()).unwrap();
    assert_eq!(
        serde_json::to_string(&change.told_in(Lang::En)).unwrap(),
        concat!(
            r#"{"joined":[{"id":"00000000-0000-0000-0000-000000000001","name":"하늘"}],"left":[],"#,
            r#""online":1,"text":"하늘 joined"}"#
        )
    );
}

#[test]
fn a_person_costs_few_bytes() {
    let mut presence = Presence::new(Rules::default());
    for n in 1..=70_000 {
        presence.enter(id(n), &name(n), UserKind::Guest, Instant::now());
        let each = presence.here.bytes() / n as usize;
        assert!(n < 1000 || each <= 66, "{each} bytes for each of {n}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(u32),
    Leave(u32),
    Pass(u64),
    /// Time passes, and the tick comes late.
    Oversleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..14u32).prop_map(Step::Enter),
        (0..14u32).prop_map(Step::Leave),
        (0..6_000u64).prop_map(Step::Pass),
        (0..100u64).prop_map(Step::Pass),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    (1..4usize, 0..4usize, prop::bool::ANY).prop_map(|(until, above, short)| Rules {
        grace: if short { SECOND / 2 } else { 10 * SECOND },
        digest_from: until + above,
        digest_until: until,
        ..Rules::default()
    })
}

/// What the contract says, in the simplest words: how many streams each person has, and when the last ended.
#[derive(Default)]
struct Model(BTreeMap<u32, (u32, Option<Instant>)>);

impl Model {
    fn enter(&mut self, n: u32) {
        self.0.entry(n).or_default().0 += 1;
    }

    /// Was there a stream to end?
    fn leave(&mut self, n: u32, now: Instant) -> bool {
        let (streams, ended) = self.0.entry(n).or_default();
        let some = *streams > 0;
        if some {
            *streams -= 1;
            *ended = Some(now);
        }
        some
    }

    fn present(&self, grace: Duration, now: Instant) -> BTreeSet<UserId> {
        let is_in = |(_, (streams, ended)): &(_, &(u32, Option<Instant>))| {
            *streams > 0 || ended.is_some_and(|ended| now < ended + grace)
        };
        self.0.iter().filter(is_in).map(|(n, _)| id(*n)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_told_is_what_is_so(rules in rules(), steps in vec(step(), 0..120)) {
        let mut scene = Scene::new(rules);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Enter(n) => {
                    scene.enter(n);
                    model.enter(n);
                }
                Step::Leave(n) => {
                    if model.leave(n, scene.now) {
                        scene.leave(n);
                    }
                }
                Step::Pass(ms) | Step::Oversleep(ms) => scene.pass(Duration::from_millis(ms)),
            }
            let present = model.present(rules.grace, scene.now);
            prop_assert_eq!(scene.presence.online(), present.len());
            let people: BTreeSet<UserId> = scene.presence.people(99).iter().map(|user| user.id).collect();
            prop_assert_eq!(&people, &present);
            if !scene.presence.telling.is_in_digests() {
                prop_assert_eq!(&scene.believed, &present);
            }
            if let Some((_, change)) = scene.told.last() {
                prop_assert!(change.online == present.len() || scene.presence.telling.is_in_digests());
            }
        }
        scene.pass(rules.grace + rules.digest_every);
        prop_assert_eq!(&scene.believed, &model.present(rules.grace, scene.now));
        prop_assert_eq!(scene.presence.due(), None);
    }

    #[test]
    fn digests_keep_their_distance(steps in vec(step(), 0..200)) {
        let mut scene = Scene::new(Rules { digest_from: 1, digest_until: 0, ..Rules::default() });
        for step in steps {
            match step {
                Step::Enter(n) => scene.enter(n),
                Step::Leave(n) => scene.leave(n),
                Step::Pass(ms) | Step::Oversleep(ms) => scene.pass(Duration::from_millis(ms)),
            }
        }
        for pair in scene.told.windows(2) {
            prop_assert!(pair[1].0 - pair[0].0 >= SECOND);
        }
    }

    #[test]
    fn late_ticks_lose_nobody(
        rules in rules(),
        steps in vec(prop_oneof![step(), (0..20_000u64).prop_map(Step::Oversleep)], 0..120),
    ) {
        let mut scene = Scene::new(rules);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Enter(n) => {
                    scene.enter(n);
                    model.enter(n);
                }
                Step::Leave(n) => {
                    if model.leave(n, scene.now) {
                        scene.leave(n);
                    }
                }
                Step::Pass(ms) => scene.pass(Duration::from_millis(ms)),
                Step::Oversleep(ms) => scene.now += Duration::from_millis(ms),
            }
        }
        scene.pass(rules.grace + rules.digest_every);
        prop_assert_eq!(&scene.believed, &model.present(rules.grace, scene.now));
        prop_assert_eq!(scene.presence.online(), scene.believed.len());
    }
}

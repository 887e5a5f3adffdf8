//! One thread, one queue of what is to happen, and the only clock there is.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time of the run of this thread.
pub(super) fn now() -> Duration {
    NOW.get()
}

/// Numbers that look like chance and come from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Rng(Cell<u64>);

impl Rng {
    /// The numbers of a part of a run: what one part draws does not change what another gets.
    pub(super) fn of(seed: u64, part: u64) -> Self {
        let rng = Rng(Cell::new(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)));
        rng.next();
        rng
    }

    pub(super) fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` on and below `to`.
    pub(super) fn range(&self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    pub(super) fn index(&self, len: usize) -> usize {
        usize::try_from(self.range(0, len as u64)).expect("it is below a usize")
    }

    /// Once in so many times.
    pub(super) fn one_in(&self, times: u64) -> bool {
        self.range(0, times) == 0
    }

    /// From 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.range(0, 1 << 20) as f64 / (1u64 << 20) as f64
    }

    pub(super) fn micros(&self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.range(from, to))
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        self.micros(from * 1000, to * 1000)
    }
}

/// Whose tasks end, or stand still, together: 0 is the world, the others are processes.
pub(super) type Group = usize;

type Ready = Arc<Mutex<BTreeSet<usize>>>;

struct Task {
    group: Group,
    /// Taken out while it runs.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
}

struct Bell {
    task: usize,
    ready: Ready,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ready.lock().expect("one thread").insert(self.task);
    }
}

/// Something that is due: when, which of those of that moment, who is woken.
struct Due(Duration, u64, Waker);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Core {
    now: Cell<Duration>,
    rng: Rng,
    due: RefCell<BinaryHeap<Reverse<Due>>>,
    tasks: RefCell<Vec<Option<Task>>>,
    /// Places in there that are free.
    free: RefCell<Vec<usize>>,
    ready: Ready,
    /// Groups that stand still, and their tasks that would run.
    still: RefCell<BTreeSet<Group>>,
    waiting: RefCell<BTreeSet<usize>>,
    polls: Cell<u64>,
    is_halted: Cell<bool>,
}

/// The scheduler. A clone is the same.
#[derive(Clone)]
pub(super) struct Time(Rc<Core>);

impl Time {
    pub(super) fn new(seed: u64) -> Self {
        Time(Rc::new(Core {
            now: Cell::default(),
            rng: Rng::of(seed, 1),
            due: RefCell::default(),
            tasks: RefCell::default(),
            free: RefCell::default(),
            ready: Ready::default(),
            still: RefCell::default(),
            waiting: RefCell::default(),
            polls: Cell::new(0),
            is_halted: Cell::new(false),
        }))
    }

    pub(super) fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// How often something was run.
    pub(super) fn polls(&self) -> u64 {
        self.0.polls.get()
    }

    pub(super) fn spawn(&self, group: Group, future: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.tasks.borrow_mut();
        let task = self.0.free.borrow_mut().pop().unwrap_or_else(|| {
            tasks.push(None);
            tasks.len() - 1
        });
        let waker = Waker::from(Arc::new(Bell { task, ready: Arc::clone(&self.0.ready) }));
        tasks[task] = Some(Task { group, future: Some(Box::pin(future)), waker });
        self.0.ready.lock().expect("one thread").insert(task);
    }

    /// Ends every task of a group where it stands.
    pub(super) fn kill(&self, group: Group) {
        let mut ended = Vec::new();
        for (id, task) in self.0.tasks.borrow_mut().iter_mut().enumerate() {
            if task.as_ref().is_some_and(|task| task.group == group) {
                // One that runs just now is let go of when it pauses.
                if task.as_ref().is_some_and(|task| task.future.is_some()) {
                    self.0.free.borrow_mut().push(id);
                }
                ended.extend(task.take());
            }
        }
        self.0.still.borrow_mut().remove(&group);
        drop(ended);
    }

    /// A group does nothing until it [goes on](Time::go_on).
    pub(super) fn stop(&self, group: Group) {
        self.0.still.borrow_mut().insert(group);
    }

    pub(super) fn go_on(&self, group: Group) {
        self.0.still.borrow_mut().remove(&group);
        self.0.ready.lock().expect("one thread").append(&mut self.0.waiting.borrow_mut());
    }

    pub(super) fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    pub(super) fn sleep_until(&self, at: Duration) -> Sleep {
        Sleep { time: self.clone(), at, is_set: false }
    }

    /// Ends the run.
    pub(super) fn halt(&self) {
        self.0.is_halted.set(true);
    }

    /// Runs until nothing is left to do, or until then.
    pub(super) fn run_until(&self, end: Duration) {
        loop {
            while let Some(task) = self.pick() {
                self.poll(task);
            }
            if self.0.is_halted.get() {
                return;
            }
            let due = {
                let mut due = self.0.due.borrow_mut();
                match due.peek() {
                    Some(Reverse(next)) if next.0 <= end => due.pop(),
                    _ => return,
                }
            };
            if let Some(Reverse(Due(at, _, waker))) = due {
                self.0.now.set(at.max(self.now()));
                NOW.set(self.now());
                waker.wake();
            }
        }
    }

    fn pick(&self) -> Option<usize> {
        let mut ready = self.0.ready.lock().expect("one thread");
        let place = if ready.len() > 1 { self.0.rng.index(ready.len()) } else { 0 };
        let task = ready.iter().nth(place).copied()?;
        ready.remove(&task);
        Some(task)
    }

    fn poll(&self, id: usize) {
        let (mut future, waker) = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = &mut tasks[id] else { return };
            if self.0.still.borrow().contains(&task.group) {
                self.0.waiting.borrow_mut().insert(id);
                return;
            }
            let Some(future) = task.future.take() else { return };
            (future, task.waker.clone())
        };
        self.0.polls.set(self.0.polls.get() + 1);
        let is_done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.0.tasks.borrow_mut();
        match &mut tasks[id] {
            Some(task) if !is_done => task.future = Some(future),
            // It is done, or its group was ended meanwhile.
            other => {
                let ended = other.take();
                self.0.free.borrow_mut().push(id);
                drop(tasks);
                drop((ended, future));
            }
        }
    }
}

/// Waits for a moment.
pub(super) struct Sleep {
    time: Time,
    at: Duration,
    is_set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.time.now() >= self.at && self.is_set {
            return Poll::Ready(());
        }
        if !self.is_set {
            self.is_set = true;
            let tie = self.time.0.rng.next();
            self.time.0.due.borrow_mut().push(Reverse(Due(self.at, tie, cx.waker().clone())));
        }
        Poll::Pending
    }
}

/// The first of two to be done; `None` when it is the second.
pub(super) async fn before<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> Option<T> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => second.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Whichever of the two is done first.
pub(super) async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    before(first, second).await;
}

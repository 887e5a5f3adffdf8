//! What a message costs between the log and the kernel: encoding it, putting it into a ring, going over the
//! readers of the ring. The wire takes everything at once, so that what is left is ours.

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maru::{
    event::{Epoch, Event, EventKind, Frame, LogId, Seq, User, UserId, UserKind},
    readers::{Close, Hall, Joined, NewReader, Occupant, Place, Ring, Rules, Sent, Source, Stats, Wire},
};
use uuid::Uuid;

fn event(seq: u64) -> Event {
    Event {
        room: Arc::from("lobby"),
        epoch: Epoch(1),
        seq: Seq(seq),
        id: Uuid::nil(),
        kind: EventKind::Message,
        target: None,
        user: User { id: UserId(Uuid::nil()), name: "Ann".parse().unwrap(), kind: UserKind::Guest },
        text: Some(Arc::from("where shall we meet tonight?")),
        status: None,
        edited: None,
        by: None,
        ts: 1_732_240_000_123,
        client_id: None,
    }
}

/// A log of which nobody lacks anything.
struct Quiet;

impl Source for Quiet {
    type Ear = ();

    fn log(&self) -> LogId {
        LogId(Uuid::nil())
    }

    fn join(&self, _: usize, after: Place, _: Option<Place>) -> Option<Joined> {
        Some(Joined { frames: Vec::new(), asides: Vec::new(), end: after })
    }

    fn leave(&self, _: usize) {}
}

struct Guest([u64; 5]);

impl Occupant for Guest {
    type Select = u64;

    fn is_meant(&self, select: &u64) -> bool {
        self.0[0] == *select
    }

    fn expires(&self) -> u32 {
        u32::MAX
    }
}

/// Takes everything.
struct Sink;

impl Wire for Sink {
    type Socket = u32;

    fn watch(&mut self, _: &u32, _: u32) -> bool {
        true
    }

    fn send(&mut self, socket: &u32, bytes: &[u8]) -> Sent {
        black_box((socket, bytes));
        Sent::Took(bytes.len())
    }

    fn finish(&mut self, _: &u32) {}

    fn close(&mut self, _: u32, _: Close) {}
}

fn encode(c: &mut Criterion) {
    let event = event(42);
    c.bench_function("encode a frame", |b| b.iter(|| Frame::new(black_box(&event))));
}

fn append(c: &mut Criterion) {
    let frame = Frame::new(&event(1));
    let mut ring = Ring::new(Seq(0));
    c.bench_function("append to a ring and trim it", |b| {
        b.iter(|| {
            let mut frame = frame.clone();
            frame.cursor.seq = ring.newest().next();
            ring.push(frame);
            ring.trim(ring.head());
        });
    });
}

fn sweep(c: &mut Criterion) {
    let mut group = c.benchmark_group("sweep");
    for readers in [1_000, 10_000] {
        let bye = Arc::new(|_| Bytes::from_static(b"event: bye\ndata: 0\n\n"));
        let mut hall = Hall::new(0, Rules::default(), bye, Arc::new(Stats::default()), Sink);
        let source = Arc::new(Quiet);
        for socket in 0..readers {
            let occupant = Guest([u64::from(socket); 5]);
            let source = Arc::clone(&source);
            let after = Place { event: Seq(0), aside: 0 };
            hall.seat(NewReader { socket, source, after, ear: (), live: None, occupant });
        }
        let frame = Frame::new(&event(1));
        let mut seq = Seq(0);
        group.throughput(Throughput::Elements(u64::from(readers)));
        group.bench_function(BenchmarkId::from_parameter(readers), |b| {
            b.iter(|| {
                seq = seq.next();
                let mut frame = frame.clone();
                frame.cursor.seq = seq;
                hall.event(source.log(), frame);
                while hall.rest() == Some(Duration::ZERO) {
                    hall.work();
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, append, sweep);
criterion_main!(benches);

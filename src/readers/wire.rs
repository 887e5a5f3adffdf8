//! What a [`Hall`](super::Hall) needs of sockets.

/// What came of handing bytes to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It took so many of them. Fewer than given: there will be an edge when there is room again.
    Took(usize),
    /// It took none. There will be an edge when there is room again.
    Blocked,
    /// Nobody is at the other end any more.
    Gone,
}

/// How to leave a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// What it holds may still be sent.
    Gently,
    /// What it holds is thrown away.
    Hard,
}

/// The sockets' side of a hall: the kernel, or a test's idea of it. An *edge* is a call of [`Hall::writable`](super::Hall::writable)
/// or [`Hall::gone`](super::Hall::gone).
pub trait Wire {
    /// One connection.
    type Socket;
    /// From now on edges of this socket are told with `key`. False when it cannot be watched.
    fn watch(&mut self, socket: &Self::Socket, key: u32) -> bool;
    /// Hands it what it takes without waiting.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> Sent;
    /// Nothing more will be sent.
    fn finish(&mut self, socket: &Self::Socket);
    /// No more edges, no more socket.
    fn close(&mut self, socket: Self::Socket, how: Close);
}

-- The log of every room, on one machine. Ids are 16 bytes, times are ms since 1970 (UTC).

-- epoch: number of this store's life; `maru --new-epoch` raises it. One row.
CREATE TABLE store (
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO store (epoch) VALUES (1);

-- tip: the last seq given. base: the seq before the first of this epoch. first_seq: the oldest still kept.
CREATE TABLE rooms (
    id        BLOB PRIMARY KEY,
    kind      TEXT NOT NULL,
    slug      TEXT NOT NULL UNIQUE,
    epoch     INTEGER NOT NULL,
    base      INTEGER NOT NULL,
    tip       INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_ts   INTEGER NOT NULL,
    created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Epochs that have ended: their seqs are base + 1 to last.
CREATE TABLE epochs (
    room_id BLOB NOT NULL,
    epoch   INTEGER NOT NULL,
    base    INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (room_id, epoch)
) STRICT, WITHOUT ROWID;

-- People who have spoken.
CREATE TABLE users (
    id      BLOB PRIMARY KEY,
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row an event. The rowid grows with time, which retention relies on. status: NULL or 'deleted' (then
-- text is ''). edit_seq: the last edit of a message. target: of an edit or a deletion, the message it is about.
CREATE TABLE messages (
    n         INTEGER PRIMARY KEY,
    room_id   BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    id        BLOB NOT NULL,
    kind      TEXT NOT NULL,
    status    TEXT,
    user_id   BLOB NOT NULL,
    user_kind TEXT NOT NULL,
    user_name TEXT NOT NULL,
    text      TEXT,
    target    INTEGER,
    edit_seq  INTEGER,
    ts        INTEGER NOT NULL,
    client_id TEXT,
    UNIQUE (room_id, seq)
) STRICT;
CREATE INDEX messages_target ON messages (room_id, target) WHERE target IS NOT NULL;

-- Keys of the last 24 h. who: a user, or an address in disguise. key, text: the first 16 bytes of a SHA-256.
-- id, epoch, seq, ts: the first answer.
CREATE TABLE idempotency (
    room_id BLOB NOT NULL,
    who     BLOB NOT NULL,
    key     BLOB NOT NULL,
    text    BLOB NOT NULL,
    id      BLOB NOT NULL,
    epoch   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    ts      INTEGER NOT NULL,
    PRIMARY KEY (room_id, who, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_ts ON idempotency (ts);

-- Sessions that signed out before they expired.
CREATE TABLE revoked (
    session INTEGER PRIMARY KEY,
    until   INTEGER NOT NULL
) STRICT;

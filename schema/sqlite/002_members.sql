-- People who can be found, rooms with members, inboxes, and who is shut out.

-- sub: by which name the site that embeds maru knows them. name_key, initials: what a search by name looks in;
-- NULL for those who cannot be found.
ALTER TABLE users ADD COLUMN sub TEXT;
ALTER TABLE users ADD COLUMN name_key TEXT;
ALTER TABLE users ADD COLUMN initials TEXT;
CREATE INDEX users_name_key ON users (name_key) WHERE name_key IS NOT NULL;
CREATE INDEX users_initials ON users (initials) WHERE initials IS NOT NULL;

-- A row each log: kind is 'open', 'direct', 'group', or 'inbox', whose id is its owner's. Only open rooms have a
-- slug, only groups a name.
CREATE TABLE logs (
    id        BLOB PRIMARY KEY,
    kind      TEXT NOT NULL,
    slug      TEXT,
    name      TEXT,
    epoch     INTEGER NOT NULL,
    base      INTEGER NOT NULL,
    tip       INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_ts   INTEGER NOT NULL,
    created   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO logs (id, kind, slug, epoch, base, tip, first_seq, last_ts, created)
SELECT id, kind, slug, epoch, base, tip, first_seq, last_ts, created FROM rooms;
DROP TABLE rooms;
ALTER TABLE logs RENAME TO rooms;
CREATE UNIQUE INDEX rooms_slug ON rooms (slug) WHERE slug IS NOT NULL;

-- Who is in a room now. place: in which order they came. from_seq: the first event they see. read_seq: up to where
-- they have read.
CREATE TABLE participants (
    room_id  BLOB NOT NULL,
    user_id  BLOB NOT NULL,
    role     TEXT NOT NULL,
    place    INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_user ON participants (user_id);

-- by_user: JSON of who brought a join or a leave about, if another. counted: 1 while it counts as unread, which a
-- message in a room with members does until it is deleted; NULL for everything else.
ALTER TABLE messages ADD COLUMN by_user TEXT;
ALTER TABLE messages ADD COLUMN counted INTEGER;
CREATE INDEX messages_counted ON messages (room_id, seq, user_id, counted) WHERE counted IS NOT NULL;

-- What happened in the rooms of a person: pointers to messages, in the order of the whole store.
CREATE TABLE inbox (
    user_id  BLOB NOT NULL,
    seq      INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    room_id  BLOB NOT NULL,
    room_seq INTEGER NOT NULL,
    PRIMARY KEY (user_id, seq)
) STRICT, WITHOUT ROWID;

-- Who is shut out of a room, by the last that was said of it. n: grows with each that is said. kind: 'user', or
-- 'address' (in disguise). until: seconds since 1970. by_id, reason: for whoever runs this.
CREATE TABLE bans (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    room_id BLOB NOT NULL,
    kind    TEXT NOT NULL,
    whom    BLOB NOT NULL,
    until   INTEGER NOT NULL,
    by_id   BLOB,
    reason  TEXT,
    created INTEGER NOT NULL,
    UNIQUE (room_id, kind, whom)
) STRICT;
CREATE INDEX bans_until ON bans (until);

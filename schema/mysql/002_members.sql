-- Rooms with members. Each statement may be run a second time: what says that a column or a key is there already
-- is taken for done.

-- Of a join or a leave: who brought it about, as JSON, if it was not the member.
ALTER TABLE messages ADD COLUMN by_user VARCHAR(255) NULL;

-- A search by initial consonants gives those with the same ones by their names.
ALTER TABLE users ADD KEY users_initials_name (initials, name_key);
ALTER TABLE users DROP KEY users_initials;

-- Who is shut out of a room, as a log: what is said later counts. whom: a user, or an address in disguise, as kind
-- says. until: seconds since 1970; of one that was lifted or said anew, when that was. at: when it was said, in
-- seconds since 1970. by_user: NULL for whoever runs this.
CREATE TABLE IF NOT EXISTS bans (
    n       BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    room_id BINARY(16)   NOT NULL,
    kind    VARCHAR(16)  NOT NULL,
    whom    BINARY(16)   NOT NULL,
    until   BIGINT       NOT NULL,
    at      BIGINT       NOT NULL,
    by_user BINARY(16)   NULL,
    reason  VARCHAR(512) NULL,
    KEY bans_whom (room_id, kind, whom),
    KEY bans_until (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

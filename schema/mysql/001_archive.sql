-- The archive of every room, for many pods. Ids are 16 bytes, times are ms since 1970 (UTC) unless said
-- otherwise. MySQL commits every CREATE by itself, so each statement may be run a second time.

-- People who have spoken. name_key, initials: what a search by name looks in.
CREATE TABLE IF NOT EXISTS users (
    id       BINARY(16)     NOT NULL PRIMARY KEY,
    kind     VARCHAR(16)    NOT NULL,
    sub      VARCHAR(255)   NULL,
    name     VARCHAR(128)   NOT NULL,
    name_key VARBINARY(512) NULL,
    initials VARBINARY(512) NULL,
    status   VARCHAR(16)    NULL,
    created  BIGINT         NOT NULL,
    UNIQUE KEY users_sub (sub),
    KEY users_name_key (name_key),
    KEY users_initials (initials)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- tip: the last seq known. base: the seq before the first of this epoch. first_seq: the oldest still kept.
-- losses: how many losses of the whole store this room's epoch has taken into account.
CREATE TABLE IF NOT EXISTS rooms (
    id        BINARY(16)      NOT NULL PRIMARY KEY,
    kind      VARCHAR(16)     NOT NULL,
    status    VARCHAR(16)     NULL,
    slug      VARCHAR(64)     NULL,
    name      VARCHAR(128)    NULL,
    epoch     INT UNSIGNED    NOT NULL,
    base      BIGINT UNSIGNED NOT NULL,
    tip       BIGINT UNSIGNED NOT NULL,
    first_seq BIGINT UNSIGNED NOT NULL,
    last_ts   BIGINT          NOT NULL,
    losses    INT UNSIGNED    NOT NULL,
    created   BIGINT          NOT NULL,
    UNIQUE KEY rooms_slug (slug)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Epochs that have ended: their seqs are base + 1 to last.
CREATE TABLE IF NOT EXISTS epochs (
    room_id BINARY(16)      NOT NULL,
    epoch   INT UNSIGNED    NOT NULL,
    base    BIGINT UNSIGNED NOT NULL,
    last    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (room_id, epoch)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Who is, or was, in a room that has members.
CREATE TABLE IF NOT EXISTS participants (
    room_id  BINARY(16)      NOT NULL,
    user_id  BINARY(16)      NOT NULL,
    kind     VARCHAR(16)     NOT NULL,
    status   VARCHAR(16)     NULL,
    from_seq BIGINT UNSIGNED NOT NULL,
    left_seq BIGINT UNSIGNED NULL,
    read_seq BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (room_id, user_id),
    KEY participants_user (user_id, left_seq, room_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row an event. status: NULL or 'deleted' (then text is ''). edit_seq: the last edit of a message.
-- target: of an edit or a deletion, the message it is about. idem, idem_text: hashes of an idempotency key and
-- of the text that it stands for. text holds 65,536 bytes, one more than TEXT does.
CREATE TABLE IF NOT EXISTS messages (
    room_id   BINARY(16)      NOT NULL,
    seq       BIGINT UNSIGNED NOT NULL,
    epoch     INT UNSIGNED    NOT NULL,
    id        BINARY(16)      NOT NULL,
    kind      VARCHAR(16)     NOT NULL,
    status    VARCHAR(16)     NULL,
    user_id   BINARY(16)      NOT NULL,
    user_kind VARCHAR(16)     NOT NULL,
    user_name VARCHAR(128)    NOT NULL,
    text      MEDIUMTEXT      NULL,
    target    BIGINT UNSIGNED NULL,
    edit_seq  BIGINT UNSIGNED NULL,
    ts        BIGINT          NOT NULL,
    client_id VARCHAR(64)     NULL,
    idem      BINARY(16)      NULL,
    idem_text BINARY(16)      NULL,
    PRIMARY KEY (room_id, seq),
    KEY messages_idem (room_id, idem),
    KEY messages_target (room_id, target),
    KEY messages_ts (ts)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Events that messages did not take, as they were, and why.
CREATE TABLE IF NOT EXISTS quarantine (
    room_id BINARY(16)      NOT NULL,
    seq     BIGINT UNSIGNED NOT NULL,
    id      BINARY(16)      NOT NULL,
    json    LONGBLOB        NOT NULL,
    error   TEXT            NOT NULL,
    at      BIGINT          NOT NULL,
    PRIMARY KEY (room_id, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Sessions that signed out before they expired. until: seconds since 1970.
CREATE TABLE IF NOT EXISTS revoked (
    n       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    session BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    UNIQUE KEY revoked_session (session),
    KEY revoked_until (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Pods that take part. lease_until: by this server's clock. gave_back: the generation of the fence for which
-- the pod has given back what it held.
CREATE TABLE IF NOT EXISTS pods (
    id          BINARY(16) NOT NULL PRIMARY KEY,
    lease_until BIGINT     NOT NULL,
    gave_back   BIGINT     NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What all pods agree on about the store before this one. losses: how often a part of it was lost. One row.
CREATE TABLE IF NOT EXISTS fence (
    one        TINYINT      NOT NULL PRIMARY KEY,
    generation BIGINT       NOT NULL,
    is_agreed  TINYINT      NOT NULL,
    run_id     VARCHAR(64)  NOT NULL,
    losses     INT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO fence (one, generation, is_agreed, run_id, losses) VALUES (1, 0, 1, '', 0)
    ON DUPLICATE KEY UPDATE one = one;

-- What was given back for the generation that is not agreed on yet.
CREATE TABLE IF NOT EXISTS returned (
    room_id   BINARY(16)      NOT NULL,
    seq       BIGINT UNSIGNED NOT NULL,
    json      LONGBLOB        NOT NULL,
    idem      BINARY(16)      NULL,
    idem_text BINARY(16)      NULL,
    PRIMARY KEY (room_id, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

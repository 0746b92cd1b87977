-- What the stand-in remembers. Instants are whole microseconds since 1970, UTC.

-- One row for each request that was accepted, in the order of acceptance.
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    idempotency_key TEXT,
    fingerprint BLOB NOT NULL,
    accepted_at INTEGER NOT NULL,
    emails INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    answer BLOB NOT NULL,
    -- Compressed (zlib): the e-mails of a batch are much alike, and the bytes that are not written
    -- cost more than squeezing them. Last, so that the others are read without walking through it.
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (idempotency_key, endpoint)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (accepted_at);

CREATE TABLE IF NOT EXISTS emails (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    request_id INTEGER NOT NULL REFERENCES requests (id),
    -- The index in the request's body, where html and text are.
    position INTEGER NOT NULL,
    last_event TEXT NOT NULL,
    -- For the inbox's search.
    recipients TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON: from, to, cc, bcc, reply_to, headers, tags.
    envelope TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS suppressions (
    address TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Webhook events not yet delivered; a row goes when its event was taken or given up.
CREATE TABLE IF NOT EXISTS events (
    -- Never reused: the store may be emptied while an event is under way.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL,
    email_id TEXT NOT NULL,
    type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_due ON events (due_at);

-- Files, how long they are kept, and what was done with them. See storage/files.py, storage/retention.py
-- and storage/upload_log.py for the meaning of each word.

-- seconds that what is uploaded with the key is kept, unless the upload says otherwise; null for ever
ALTER TABLE api_keys ADD COLUMN uploads_expire_in double precision CHECK (uploads_expire_in > 0);

ALTER TABLE uploads ADD COLUMN expires_at timestamptz;
CREATE INDEX uploads_listed ON uploads (owner, created_at, id);
CREATE INDEX uploads_expiring ON uploads (expires_at, id) WHERE expires_at IS NOT NULL;

CREATE TABLE upload_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL,
    outcome text NOT NULL,
    owner uuid NOT NULL,
    -- an address, or `command line`, or `cleanup`
    client text NOT NULL,
    file_id uuid,
    cid text,
    name text,
    size bigint,
    -- why, where it did not succeed
    reason text
);
-- Rows come in the order of their time: a BRIN index finds the old ones at next to no size.
CREATE INDEX upload_log_at ON upload_log USING brin (at);
CREATE INDEX upload_log_file ON upload_log (file_id) WHERE file_id IS NOT NULL;

-- One row for each day on which the cleanup was due; whoever puts it in begins that day's cleanup.
CREATE TABLE cleanups (
    day date PRIMARY KEY,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    files bigint NOT NULL DEFAULT 0,
    objects bigint NOT NULL DEFAULT 0
);

-- Uploads straight into the bucket. See storage/direct_uploads.py.
CREATE TABLE direct_uploads (
    id uuid PRIMARY KEY,
    owner uuid NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    size bigint NOT NULL,
    content_type text,
    profile text NOT NULL,
    -- seconds that the file is kept; null for ever
    lifetime double precision,
    -- when the address that was given out ends
    expires_at timestamptz NOT NULL,
    -- what it became
    file_id uuid
);
CREATE INDEX direct_uploads_expires ON direct_uploads (expires_at);

-- IPNS. See naming/records.py and naming/named_keys.py for the meaning of each word.

CREATE TABLE ipns_records (
    -- the multihash of the public key, or the one that holds it
    name bytea PRIMARY KEY,
    record bytea NOT NULL CHECK (octet_length(record) <= 10240),
    -- a uint64, and nanoseconds since 1970 up to the year 9999: both are more than a bigint holds
    sequence numeric(20) NOT NULL,
    eol numeric(21) NOT NULL,
    origin smallint NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ipns_records_found ON ipns_records (checked_at) WHERE origin = 0;

CREATE TABLE ipns_keys (
    label text PRIMARY KEY,
    name bytea NOT NULL UNIQUE,
    owner uuid NOT NULL,
    -- the private key, encrypted under a key that is derived from IPNS_KEY_SECRET
    sealed bytea NOT NULL,
    -- seconds, as it was last published
    lifetime double precision,
    announced_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);

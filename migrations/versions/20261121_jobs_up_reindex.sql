-- How far `cidgate reindex` came in each store, empty at its end, and which objects it need not read again
-- as long as they do not change. `modified` is in seconds since the epoch.

CREATE TABLE reindex_cursors (
    store text PRIMARY KEY,
    after text NOT NULL,
    reached_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE reindex_skipped (
    store text NOT NULL,
    key text NOT NULL,
    size bigint NOT NULL,
    modified double precision NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (store, key)
);

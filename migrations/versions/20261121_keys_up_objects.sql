-- Where every block is, and who keeps what. See storage/index.py for the meaning of each word.

CREATE TABLE objects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    layout smallint NOT NULL,
    root bytea NOT NULL,
    size bigint NOT NULL,
    profile text,
    damaged_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX objects_root ON objects (root);

-- The closure, not only the direct needs: one step finds every object under a DAG.
CREATE TABLE object_needs (
    object_id bigint NOT NULL REFERENCES objects ON DELETE CASCADE,
    needs_id bigint NOT NULL REFERENCES objects ON DELETE CASCADE,
    PRIMARY KEY (object_id, needs_id)
);
CREATE INDEX object_needs_needs ON object_needs (needs_id);

-- By far the largest table: split by hash so that it can grow to billions of rows. Rows of one
-- object come in together, so a BRIN index finds them again when the object goes, at next to no
-- size; there is no foreign key because checking it would cost more than the load itself.
CREATE TABLE blocks (
    multihash bytea NOT NULL,
    object_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    length integer NOT NULL,
    wrapped boolean NOT NULL,
    inline bytea,
    PRIMARY KEY (multihash, object_id)
) PARTITION BY HASH (multihash);
DO $$ BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE blocks_%s PARTITION OF blocks FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
END $$;
CREATE INDEX blocks_object ON blocks USING brin (object_id) WITH (autosummarize = on, pages_per_range = 32);

CREATE TABLE uploads (
    id uuid PRIMARY KEY,
    owner uuid NOT NULL,
    root bytea NOT NULL,
    name text NOT NULL,
    size bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, root, name)
);

CREATE TABLE holds (
    upload_id uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    object_id bigint NOT NULL REFERENCES objects,
    PRIMARY KEY (upload_id, object_id)
);
CREATE INDEX holds_object ON holds (object_id);

CREATE TABLE unsettled_objects (
    key text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    abandoned boolean NOT NULL DEFAULT false
);

-- Rises whenever something was taken away: what was cached under an older value is not used.
CREATE SEQUENCE cache_epoch;

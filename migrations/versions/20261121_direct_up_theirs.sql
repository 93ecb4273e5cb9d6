-- Which objects others put into the bucket, who may change them at any time: they are never deleted, and
-- nothing of ours rests on them. And which ones the store publishes on IPFS under their root, as far as it said.
ALTER TABLE objects ADD COLUMN theirs boolean NOT NULL DEFAULT false;
ALTER TABLE objects ADD COLUMN published boolean NOT NULL DEFAULT false;

-- What was taken in until now. The keys that this program makes: see storage/objects.py.
UPDATE objects SET theirs = true
WHERE key !~ '^((files/[a-z0-9-]+|cars|imports)/[0-9a-f]{2}/[0-9a-f]{32})$';
DELETE FROM unsettled_objects
WHERE key !~ '^((files/[a-z0-9-]+|cars|imports|incoming)/[0-9a-f]{2}/[0-9a-f]{32})$';

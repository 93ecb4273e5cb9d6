-- A single block may come before the blocks that it links to. Such an object must not stand in for a
-- whole upload of the same root.
ALTER TABLE objects ADD COLUMN partial boolean NOT NULL DEFAULT false;

-- A row and not a sequence: a sequence shows its new value before the deletion that it stands for is
-- committed, and whoever asks then caches what is about to go under the new epoch.
DROP SEQUENCE cache_epoch;
CREATE TABLE cache_epoch (epoch bigint NOT NULL);
INSERT INTO cache_epoch (epoch) VALUES (0);

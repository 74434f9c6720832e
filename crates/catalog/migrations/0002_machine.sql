-- What a VM was when it was last seen running: its disks are found by it while it does not run.
ALTER TABLE vms ADD COLUMN machine TEXT;

-- Disks that are backed up though they would be left out (shared ones).
ALTER TABLE vms ADD COLUMN included_disks TEXT;

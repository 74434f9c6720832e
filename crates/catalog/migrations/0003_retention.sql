-- Which of a VM's recovery points to keep, as JSON; nothing: all of them.
ALTER TABLE vms ADD COLUMN retention TEXT;

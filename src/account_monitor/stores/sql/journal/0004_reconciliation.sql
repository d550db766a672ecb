-- Corrections say who ordered them and why, and may be taken back; alerts and reports of reconciliation are entries.
-- The latest of these are asked for often, and are few among the fills.
CREATE INDEX remarks ON journal (kind) WHERE kind IN ('alert', 'reconciliation');

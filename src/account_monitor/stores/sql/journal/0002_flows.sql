-- The latest flows are read at every start of an account with an exchange, to match what the exchange says of them again.
CREATE INDEX flows ON journal (at_ms) WHERE kind IN ('funding', 'transfer', 'income', 'charge');

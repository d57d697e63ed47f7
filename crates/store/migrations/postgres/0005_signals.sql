-- Where a node takes signals, as `address port`; NULL is nowhere.
ALTER TABLE members ADD COLUMN signals text;

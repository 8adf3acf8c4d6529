"""Floor 0: the tables everything is written in, storage, and per-image work."""

"""Many rows at once: a record batch in, the same rows with their answers out, under one engine or another."""

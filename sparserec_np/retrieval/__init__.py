"""Compiled retrieval: exact top-k with an inverted index, for one user or for many at once."""

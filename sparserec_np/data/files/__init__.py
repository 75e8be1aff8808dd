"""Interaction files: one reader for each format, all of which give the same columns."""

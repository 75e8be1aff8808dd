"""Items described by their features: rows for items that nobody has touched yet."""

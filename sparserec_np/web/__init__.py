"""The static page around a model."""

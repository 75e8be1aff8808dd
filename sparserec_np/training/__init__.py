"""Dynamic sparse training of embeddings with BPR, from interactions to a model file."""

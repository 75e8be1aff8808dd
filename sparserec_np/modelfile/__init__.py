"""The model file: its layout, reader and writer. FORMAT.md in docs describes the bytes."""

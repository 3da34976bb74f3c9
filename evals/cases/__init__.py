"""Questions and keys: generated, read from files, extracted from replies, scored."""

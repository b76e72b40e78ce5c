"""Deduplication, without text: what a part emits, who wins inside a hash bucket, and what the mask removes."""

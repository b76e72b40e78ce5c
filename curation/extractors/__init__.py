"""Extractors: each turns a page into a document, or drops it."""

"""Edits: steps that return a changed document."""

"""Filters: one rule or one paper's set of rules a file. Adding one needs no other edit than the recipe line."""

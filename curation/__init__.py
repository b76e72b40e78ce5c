"""What is decided about a page: pure functions from bytes and text to values. Imports nothing of ours."""

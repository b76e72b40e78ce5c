"""Where text comes from when it is not a web page: one file for each kind of dump."""

"""The main text of a page: its elements and blocks in one compiled pass, what each block looks like, which stay."""

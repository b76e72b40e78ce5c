"""The kinds of tokenizer files that `models.tokenizer` reads, one module each."""

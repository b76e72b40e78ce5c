"""The LLaMA trainer: the only code that knows torch. It sees token shards and a tokenizer, nothing else of ours."""

"""Where it runs: the only code that knows Apache Beam."""

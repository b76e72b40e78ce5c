"""What is learned: each module learns or loads one model. Models score; filters decide."""

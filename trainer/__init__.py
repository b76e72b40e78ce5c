"""The trainer: token shards in, a LLaMA out. The only room that imports torch."""

import os

# Torch's CPU threads spin while they wait for each other. Where other processes want the cores too, that made a step of
# the tiny preset five to nine times slower (4.7 and 8.5 s against 1.0 s). It has to be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""How fast we ask a server, and how patient we are with it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait (seconds) and how often to try (per block).

    A server that asks for a longer wait (Retry-After) gets it; beyond `longest_asked` we give up, never ignore it.
    """

    tries: int = 8
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_asked: float = 600.0
    connect_timeout: float = 10.0
    read_timeout: float = 30.0  # without a single byte
    request_seconds: float = 120.0  # for the body of one request; a slower one is dropped and continued
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, asked: float) -> float:
        """Seconds to the next try: doubled per failure, never less than asked, jittered so that workers spread out."""
        doubled = min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))
        return max(asked, doubled * random.uniform(0.5, 1.0))


class RequestRate:
    """A token bucket: at most `burst` requests at once and `per_second` in the long run, over all threads."""

    def __init__(
        self,
        per_second: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> None:
        """Wait until one request may be made."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            self._tokens -= 1.0  # below zero it is a place in the queue
            wait = -self._tokens / self._per_second
        if wait > 0:
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Let nobody make a request for so long: one thread was told to go slower, and that is about all of them."""
        with self._lock:
            self._tokens = min(self._tokens, 1.0 - seconds * self._per_second)
            self._filled_at = self._clock()


# Per process. With W worker processes the server sees W times this rate. Files are listed by one process alone.
PROCESS_RATE = RequestRate(per_second=5.0, burst=10)
LISTING_RATE = RequestRate(per_second=20.0, burst=20)

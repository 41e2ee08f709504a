"""Whether something goes wrong this time: drawn from the seed, one generator a thing, and counted.

Each thing has its own generator (simulators/seeds.py), so that what befalls one till does not depend on how
often another was asked about.
"""

from __future__ import annotations

import random
from collections import Counter

from simulators.seeds import make_rng


class Dice:
    """The luck of one world."""

    def __init__(self, seed: int) -> None:
        """Prepare; nothing has happened yet."""
        self._seed = seed
        self._rngs: dict[str, random.Random] = {}
        self.is_healed = False
        """Set this, and nothing goes wrong any more."""
        self.counts: Counter[str] = Counter()
        """How often each kind of fault happened."""

    @staticmethod
    def rng_of(seed: int, thing: str) -> random.Random:
        """Return a generator of one thing of a seed's faults, at its beginning."""
        return make_rng(seed, "faults", thing)

    def happens(self, kind: str, probability: float, thing: str) -> bool:
        """Say whether a fault happens to a thing now, and count it if it does.

        A fault that is off draws nothing, so switching one kind off leaves the others' luck as it is.
        """
        if self.is_healed or probability <= 0.0:
            return False
        happened = self._rng(f"{thing} {kind}").random() < probability
        if happened:
            self.counts[str(kind)] += 1
        return happened

    def duration_ms(self, thing: str, max_ms: int) -> int:
        """Draw how long something lasts, from 1 ms to the most there may be."""
        return self._rng(f"{thing} duration").randint(1, max(1, max_ms))

    def below(self, thing: str, bound: int) -> int:
        """Draw a whole number from 0 up to, and without, the bound."""
        return self._rng(f"{thing} below").randrange(bound)

    def note(self, kind: str) -> None:
        """Count something that followed from other faults."""
        self.counts[str(kind)] += 1

    def _rng(self, name: str) -> random.Random:
        rng = self._rngs.get(name)
        if rng is None:
            rng = self._rngs[name] = self.rng_of(self._seed, name)
        return rng

"""How tests are shared out among workers: one by one, but for those that play on one stage.

A rehearsal is a dozen processes; one for every worker would cost more than it saves. (xdist's own groups, by
`--dist loadgroup`, are not seen by pytest 9.2.)
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

STAGES: Final = ("tests/acceptance/test_rehearsal.py::",)
"""Tests whose names begin alike go to one worker."""


class OneStageScheduling(LoadScopeScheduling):
    """Every test is a unit of work of its own, and every stage is one."""

    def _split_scope(self, nodeid: str) -> str:
        return next((stage for stage in STAGES if nodeid.startswith(stage)), nodeid)

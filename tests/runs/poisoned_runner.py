"""A runner whose rows make TFF fail, and its error name a value from them."""

from __future__ import annotations

import sys
from typing import Any

from sytff_policy.training import runner

PRIVATE_VALUE = 987654


def _poison(assignment: Any, channel: Any) -> None:
    from sytff_policy.datasets import Cohort, StoredDataset

    read = StoredDataset.read_units

    def wrong(self: StoredDataset, units: Any) -> Cohort:
        cohort = read(self, units)
        return Cohort(cohort.features, cohort.labels + PRIVATE_VALUE, cohort.row_splits)

    StoredDataset.read_units = wrong
    _execute(assignment, channel)


_execute = runner._execute

if __name__ == "__main__":
    runner._execute = _poison
    sys.exit(runner.main(sys.argv[1:]))

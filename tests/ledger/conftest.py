"""A ledger in a temporary file, with one registered dataset."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from sytff_policy.ledger import Ledger
from sytff_policy.privacy import make_filter


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger.create(tmp_path / "ledger.db", "node-test")
    made.register(
        name="registry",
        version="hmac-sha256:00",
        population=1000,
        owner="owner",
        description={"features": []},
        privacy_filter=make_filter("rdp", Decimal(8), Decimal("1e-5"), order=4),
        bundle="sha256:" + "0" * 64,
    )
    yield made
    made.close()

"""The Keras that is here: 2.14 beside TensorFlow, 3 where only the light half is installed."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def keras() -> Any:
    import keras

    return keras

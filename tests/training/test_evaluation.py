"""Evaluation: right without noise, bounded per unit, and honest about its errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.tff, pytest.mark.slow]

CLASSES = 3


def evaluator(classes: int = CLASSES, outputs: int = CLASSES) -> Any:
    """Predictions are the rows themselves: logits."""
    import tensorflow as tf

    from sytff_policy.training.evaluation import Evaluator
    from sytff_policy.training.functional import accuracy_fn, loss_fn

    loss = "binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy"
    return Evaluator(
        lambda weights, x, training: tf.identity(x),
        loss_fn(loss, "linear"),
        accuracy_fn(loss, "linear"),
        classes,
    )


def exact(units: list[tuple[np.ndarray, np.ndarray]], made: Any) -> np.ndarray:
    x = np.concatenate([x for x, _ in units])
    y = np.concatenate([y for _, y in units])
    splits = np.concatenate([[0], np.cumsum([len(y) for _, y in units])]).astype(np.int64)
    return made.exact_sum([], iter([(x, y, splits)])).astype(float)


def rows(*predicted: int) -> np.ndarray:
    return (10 * np.eye(CLASSES, dtype=np.float32))[list(predicted)]


UNITS = [
    (rows(0, 1), np.array([0, 0], np.int32)),
    (rows(2), np.array([2], np.int32)),
    (rows(2, 2, 2, 2), np.array([1, 2, 2, 2], np.int32)),
]


def test_without_noise_the_numbers_are_means_over_people_not_rows() -> None:
    from sytff_policy.training.evaluation import metrics_from

    made = evaluator()
    metrics = metrics_from(
        exact(UNITS, made), sensitivity=made.sensitivity, noise_multiplier=0.0, classes=CLASSES
    )
    assert metrics["units"] == 3
    assert metrics["accuracy"] == pytest.approx((0.5 + 1.0 + 0.75) / 3, abs=1e-6)
    # A wrong row has loss 10, which counts as part of its person's mean, clipped at 5.
    right = math.log(1 + 2 * math.exp(-10))
    wrong = 10 + right
    losses = [(right + wrong) / 2, right, (wrong + 3 * right) / 4]
    assert metrics["loss"] == pytest.approx(sum(min(5.0, value) for value in losses) / 3, abs=1e-4)
    confusion = {name: value for name, value in metrics.items() if name.startswith("confusion/")}
    assert confusion == pytest.approx(
        {
            **{f"confusion/{true}/{said}": 0.0 for true in range(3) for said in range(3)},
            "confusion/0/0": 0.5,
            "confusion/0/1": 0.5,
            "confusion/2/2": 1.75,
            "confusion/1/2": 0.25,
        },
        abs=1e-6,
    )
    assert sum(confusion.values()) == pytest.approx(metrics["units"])


def test_a_binary_classifier_has_four_counts() -> None:
    made = evaluator(classes=2, outputs=1)
    x = np.array([[5.0], [5.0], [-5.0], [-5.0]], np.float32)
    unit = (x, np.array([1, 0, 1, 0], np.int32))
    assert exact([unit], made)[-4:] == pytest.approx([0.125] * 4)
    assert exact([(x[:1], np.array([0], np.int32))], made)[-4:] == pytest.approx([0, 0.5, 0, 0])


numbers = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-40, 0.0]), st.floats(width=32)
)


@settings(max_examples=100)
@example([np.nan] * 3, 4, 0, True)
@example([np.inf, -np.inf, 0.0], 1, 1, True)
@example([1e30, -1e30, 0.0], 1000, 1, False)
@example([0.0] * 3, 0, 0, True)
@given(
    st.lists(numbers, min_size=3, max_size=3),
    st.sampled_from([0, 1, 2, 1000]),
    st.integers(0, 2),
    st.booleans(),
)
def test_a_unit_changes_the_sum_by_at_most_the_sensitivity(
    row: list[float], count: int, label: int, confusion: bool
) -> None:
    made = evaluator(CLASSES if confusion else 0)
    unit = (np.tile(np.array(row, np.float32), (count, 1)), np.full(count, label, np.int32))
    without, with_them = exact(UNITS, made), exact([*UNITS, unit], made)
    assert np.isfinite(with_them).all()
    assert np.linalg.norm(with_them - without) <= made.sensitivity * (1 + 1e-6)
    assert made.sensitivity == pytest.approx(math.sqrt(1.0 if confusion else 0.75))


def test_the_stated_errors_are_those_that_the_noise_makes() -> None:
    """Chance alone moves the spread of 4,000 draws by 1.1 % (one stddev); 8 % is allowed."""
    from sytff_policy.training.evaluation import metrics_from

    generator = np.random.default_rng(5)
    units, noise = 400, 4.0
    sensitivity = 1.0
    truth = np.array([units * 0.3, -units * 0.25, units / 2, *([units / 9] * 9)])
    drawn = [
        metrics_from(
            truth + generator.normal(0, noise * sensitivity, 12),
            sensitivity=sensitivity,
            noise_multiplier=noise,
            classes=CLASSES,
        )
        for _ in range(4000)
    ]
    for name in ("accuracy", "loss"):
        spread = np.std([metrics[name] for metrics in drawn])
        stated = np.mean([metrics[f"{name}_stderr"] for metrics in drawn])
        assert spread == pytest.approx(stated, rel=0.08)
    counts = [metrics["confusion/1/1"] for metrics in drawn]
    assert np.std(counts) == pytest.approx(drawn[0]["confusion_stderr"], rel=0.08)


def test_the_sampling_error_bounds_that_of_any_distribution() -> None:
    from sytff_policy.training.evaluation import metrics_from

    generator = np.random.default_rng(6)
    for draw in (lambda: generator.random(200), lambda: generator.random(200) < 0.2):
        values = np.array([draw() for _ in range(2000)], float)
        offset = float((values[0] - 0.5).sum())
        stated = metrics_from(
            np.array([offset, 0.0, 100.0]), sensitivity=1.0, noise_multiplier=0.0
        )["accuracy_sampling_stderr"]
        assert values.mean(axis=1).std() <= stated * 1.15


@pytest.mark.usefixtures("tff_runtime")
def test_the_noise_on_the_sum_has_the_claimed_scale_and_reports_it() -> None:
    from scipy import stats

    from sytff_policy.training.evaluation import noised_sum

    truth = np.linspace(-3, 3, 64).astype(np.float32)
    noise, sensitivity = 2.5, 1.3
    residuals = []
    for _ in range(10):
        noised, executed = noised_sum(truth, sensitivity, noise)
        assert noise <= executed <= noise * 1.0001
        residuals.append((noised - truth) / (noise * sensitivity))
    sample = np.concatenate(residuals)
    # Wrong about honest code once in a million runs.
    tail = stats.chi2.cdf((sample**2).sum(), sample.size)
    assert 0.5e-6 < tail < 1 - 0.5e-6
    for wrong in (2 / 3, 3 / 2):
        assert not 0.5e-6 < stats.chi2.cdf((sample**2).sum() / wrong**2, sample.size) < 1 - 0.5e-6

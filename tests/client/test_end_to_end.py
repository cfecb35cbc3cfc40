"""From a researcher's function to the researcher's model with trained weights. Real TFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sytff_policy as sy
from tests.client.digits import make_image_home, params, write_strokes

pytestmark = [pytest.mark.tff, pytest.mark.slow]


def test_images_train_a_small_cnn_and_the_model_is_ones_own(tmp_path: Path) -> None:
    import keras

    made: list[Any] = []

    def model_fn() -> Any:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.GlobalMaxPooling2D(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        made.append((model, [np.array(weight) for weight in model.get_weights()]))
        return model

    make_image_home(tmp_path, people=400, epsilon=30).close()
    progress: list[int] = []
    with sy.open(tmp_path / "node", researcher="alice") as domain:
        dataset = domain.datasets[0]
        asked = params(
            dataset,
            rounds=30,
            no_clients=400,
            clients_per_round=100,
            noise_multiplier=1.1,
            client_optimizer={"learning_rate": 1.0},
            local_epochs=3,
            evaluation={"noise_multiplier": 3.0, "holdout": 0.25},
        )
        model, metrics = sy.tff.train_model(
            model_fn,
            asked,
            domain,
            timeout=240,
            on_progress=lambda p: progress.append(p.rounds_done),
        )
        spent = dataset.budget.spent

    [(own, before)] = made
    assert model is own
    after = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert [weight.shape for weight in after] == [weight.shape for weight in before]
    assert all((new != old).any() for new, old in zip(after, before, strict=True))
    assert {"accuracy", "accuracy_stderr", "loss", "loss_stderr", "units"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    assert progress[-1] == 30
    assert 0 < spent < 30

    # The weights work in the researcher's own Keras, on data that the node never saw.
    write_strokes(tmp_path / "fresh.npz", people=400, seed=9)
    fresh = np.load(tmp_path / "fresh.npz")
    images = fresh["images"][..., np.newaxis].astype(np.float32) / 255
    loss, accuracy = model.evaluate(images, fresh["stroke"], verbose=0)
    assert np.isfinite(loss)
    assert accuracy > 0.65

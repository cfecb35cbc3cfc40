"""`sy.tff.train_model`, with the names that PySyTFF users know."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sytff_policy.client.domain import AssetHandle, DatasetHandle, Domain
from sytff_policy.errors import InvalidInput
from sytff_policy.model_spec import check_keras_weights, set_keras_weights, spec_from_keras
from sytff_policy.request import TrainRequest

if TYPE_CHECKING:
    from sytff_policy.runs.supervisor import OnProgress

__all__ = ["build_request", "train_model"]


def train_model(
    model_fn: Callable[[], Any],
    params: Mapping[str, Any],
    domain: Domain,
    timeout: float = 5000,
    *,
    on_progress: OnProgress | None = None,
) -> tuple[Any, dict[str, float]]:
    """Trains a Keras model on data that you cannot see.

    Args:
      model_fn: Returns a Keras 2 or Keras 3 model, sequential or functional. Its architecture is
        sent; the weights it starts from are drawn afresh by its initializers, on the node.
      params: `rounds`, `clients_per_round`, `noise_multiplier`, `train_data_id`, `label_data_id`,
        and any other field of `TrainRequest`.
      domain: As from `sytff_policy.open`.
      timeout: Seconds for the run.
      on_progress: Called after every round.

    Returns:
      Your own model with the trained weights set, and the noised metrics.

    Raises:
      RequestDenied: With the whole decision: every reason, and what would be accepted.
      InvalidInput, InvalidInputs: If the request or the model cannot be understood.
      RunFailed: If training ends without a result.
    """
    timeout = _seconds(timeout)
    _check_params(params)
    model = _build(model_fn)
    request = build_request(model, params, domain)
    if request.model is None:
        raise AssertionError("a request to train without a model")
    # A model that could not take its weights is found out before they cost anything.
    check_keras_weights(model, request.model)
    result = domain.home.submit(
        request, domain.researcher, timeout=timeout, on_progress=on_progress
    )
    set_keras_weights(model, request.model, result.weights)
    return model, dict(result.metrics)


def build_request(model: Any, params: Mapping[str, Any], domain: Domain) -> TrainRequest:
    """The request that `train_model` would send for a model and parameters.

    Raises:
      InvalidInput, InvalidInputs: As `train_model`.
    """
    from sytff_policy.home import parse_request

    _check_params(params)
    document = {key: _plain(value) for key, value in params.items()}
    document["model"] = spec_from_keras(model).model_dump(mode="json")
    return parse_request(domain.home, document, where="params")


def _build(model_fn: Any) -> Any:
    if hasattr(model_fn, "get_config") or not callable(model_fn):
        raise InvalidInput(
            "model_fn",
            "is not a function that returns a Keras model",
            value=type(model_fn).__name__,
            remedy="Pass a function, such as `lambda: model`.",
        )
    try:
        return model_fn()
    except Exception as error:
        raise InvalidInput("model_fn", f"fails: {error!r}") from error


def _check_params(params: Any) -> None:
    if not isinstance(params, Mapping):
        raise InvalidInput("params", "is not a mapping", value=type(params).__name__)
    if "model" in params:
        raise InvalidInput(
            "params: model", "is given twice", remedy="The model is what model_fn returns."
        )


def _seconds(timeout: Any) -> float:
    seconds = _plain(timeout)
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and math.isfinite(seconds) and seconds > 0):
        raise InvalidInput("timeout", "is no time limit", value=timeout, limit="seconds above 0")
    return float(seconds)


def _plain(value: Any) -> Any:
    """A value as JSON has it: ids for handles, Python's numbers for NumPy's."""
    if isinstance(value, AssetHandle):
        return value.id_at_location.to_string()
    if isinstance(value, DatasetHandle):
        return value.name
    if hasattr(value, "to_string"):
        return value.to_string()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

"""`sy.tff.train_model`, with the names that PySyTFF users know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sytff_policy.client.domain import Domain
from sytff_policy.errors import InvalidInput
from sytff_policy.home import parse_request
from sytff_policy.model_spec import set_keras_weights, spec_from_keras
from sytff_policy.request import TrainRequest
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
    model = model_fn()
    request = build_request(model, params, domain)
    result = domain.home.submit(
        request, domain.researcher, timeout=timeout, on_progress=on_progress
    )
    if request.model is None:
        raise AssertionError("trained without a model")
    set_keras_weights(model, request.model, result.weights)
    return model, dict(result.metrics)


def build_request(model: Any, params: Mapping[str, Any], domain: Domain) -> TrainRequest:
    """The request that `train_model` would send for a model and parameters."""
    if not isinstance(params, Mapping):
        raise InvalidInput("params", "is not a mapping", value=type(params).__name__)
    document = {key: _plain(value) for key, value in params.items()}
    document["model"] = spec_from_keras(model).model_dump(mode="json")
    return parse_request(domain.home, document, where="params")


def _plain(value: Any) -> Any:
    if hasattr(value, "to_string"):
        return value.to_string()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value

"""The neutral model specification: an allow-listed architecture, without code."""

from sytff_policy.model_spec.base import Initializer, WeightSpec
from sytff_policy.model_spec.keras import spec_from_keras
from sytff_policy.model_spec.model_fn import load_model_fn
from sytff_policy.model_spec.spec import InputSpec, ModelSpec
from sytff_policy.model_spec.weights import (
    check_keras_weights,
    set_keras_weights,
    weights_from_keras,
)

__all__ = [
    "Initializer",
    "InputSpec",
    "ModelSpec",
    "WeightSpec",
    "check_keras_weights",
    "load_model_fn",
    "set_keras_weights",
    "spec_from_keras",
    "weights_from_keras",
]

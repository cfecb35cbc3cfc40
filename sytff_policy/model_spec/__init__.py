"""The neutral model specification: an allow-listed architecture, without code."""

from sytff_policy.model_spec.keras import load_model_fn, spec_from_keras
from sytff_policy.model_spec.layers import Initializer, WeightSpec
from sytff_policy.model_spec.spec import InputSpec, ModelSpec
from sytff_policy.model_spec.weights import set_keras_weights, weights_from_keras

__all__ = [
    "Initializer",
    "InputSpec",
    "ModelSpec",
    "WeightSpec",
    "load_model_fn",
    "set_keras_weights",
    "spec_from_keras",
    "weights_from_keras",
]

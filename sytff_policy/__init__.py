"""SyTFF Policy: train on people's data behind policies and a privacy budget.

    import sytff_policy as sy

    domain = sy.open("DIR")
    model, metrics = sy.tff.train_model(model_fn, params, domain, timeout=5000)

Importing this package imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Domain",
    "InvalidInput",
    "InvalidInputs",
    "RequestDenied",
    "Researcher",
    "RunFailed",
    "SytffError",
    "TrainRequest",
    "__version__",
    "open",
    "tff",
]

if TYPE_CHECKING:
    from sytff_policy.client import Domain, tff
    from sytff_policy.client import open_domain as open
    from sytff_policy.decision import Decision
    from sytff_policy.errors import InvalidInput, InvalidInputs, SytffError
    from sytff_policy.home import RequestDenied
    from sytff_policy.request import Researcher, TrainRequest
    from sytff_policy.runs.supervisor import RunFailed

_WHERE = {
    "Decision": ("sytff_policy.decision", "Decision"),
    "Domain": ("sytff_policy.client.domain", "Domain"),
    "InvalidInput": ("sytff_policy.errors", "InvalidInput"),
    "InvalidInputs": ("sytff_policy.errors", "InvalidInputs"),
    "RequestDenied": ("sytff_policy.home", "RequestDenied"),
    "Researcher": ("sytff_policy.request", "Researcher"),
    "RunFailed": ("sytff_policy.runs.supervisor", "RunFailed"),
    "SytffError": ("sytff_policy.errors", "SytffError"),
    "TrainRequest": ("sytff_policy.request", "TrainRequest"),
    "open": ("sytff_policy.client.domain", "open_domain"),
    "tff": ("sytff_policy.client.tff", None),
}


def __getattr__(name: str) -> Any:
    # Late, so that `import sytff_policy` is instant and a light command loads what it uses.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module_name, attribute = _WHERE[name]
    module = importlib.import_module(module_name)
    return module if attribute is None else getattr(module, attribute)

"""Loading a researcher's own model function from a file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sytff_policy.errors import InvalidInput

_MODULE = "sytff_researcher_model"


def load_model_fn(reference: str) -> Callable[[], Any]:
    """Loads `FILE.py:NAME`, a function that returns a Keras model.

    The file's code runs, in the process of the researcher who wrote it; a node never loads one.

    Raises:
      InvalidInput: If the file or the name does not exist, is no function, or fails to load.
    """
    path_text, _, name = reference.rpartition(":")
    if not path_text or not name:
        raise InvalidInput(
            "--model", "must be FILE.py:FUNCTION", value=reference, remedy="e.g. model.py:model_fn"
        )
    path = Path(path_text)
    if not path.is_file():
        raise InvalidInput("--model", "no such file", value=str(path))
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise InvalidInput("--model", "is not a Python file", value=str(path))
    module = importlib.util.module_from_spec(spec)
    # Registered while it loads: dataclasses and pickles look their module up.
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[_MODULE]
        raise InvalidInput("--model", f"{path} does not load: {error!r}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if _is_own_function(value, module)]
        raise InvalidInput(
            "--model", f"{path} has no function {name!r}", limit=", ".join(names) or "none"
        )
    made: Callable[[], Any] = function
    return made


def _is_own_function(value: object, module: object) -> bool:
    return callable(value) and getattr(value, "__module__", None) == getattr(
        module, "__name__", None
    )

"""Whether a request's model, its loss and a dataset fit together."""

from __future__ import annotations

from typing import Any

from sytff_policy.errors import InvalidInput
from sytff_policy.ledger import DatasetRecord
from sytff_policy.request import CLASSIFICATION_LOSSES, TrainRequest


def effective_loss(request: TrainRequest, record: DatasetRecord) -> Any:
    """The request's loss, or the one that model and label imply."""
    if request.loss is not None:
        return request.loss
    if record.description["classes"] == 0:
        return "mean_squared_error"
    one = request.model is not None and request.model.output_shape == (1,)
    return "binary_crossentropy" if one else "sparse_categorical_crossentropy"


def check_fit(request: TrainRequest, record: DatasetRecord) -> None:
    """Refuses a model that does not take the dataset's features, or whose outputs and loss do not
    fit its label.

    Raises:
      InvalidInput: Naming what does not fit, and what would.
    """
    model = request.model
    if model is None:
        return
    wanted = tuple(record.description["feature_shape"])
    shape = model.inputs[0].shape
    if _product(shape) != _product(wanted) or (len(wanted) > 1 and not _same(shape, wanted)):
        raise InvalidInput(
            "model",
            f"takes another shape than the features of {record.name!r} have",
            value=shape,
            limit=wanted,
        )
    classes = record.description["classes"]
    loss = effective_loss(request, record)
    outputs = model.output_shape
    if (loss in CLASSIFICATION_LOSSES) != bool(classes):
        raise InvalidInput("loss", f"does not fit the label of {record.name!r}", value=loss)
    fits = outputs == (1,) if loss != "sparse_categorical_crossentropy" else outputs == (classes,)
    if loss == "binary_crossentropy" and classes != 2:
        fits = False
    if not fits:
        raise InvalidInput(
            "model",
            f"has outputs that do not fit loss {loss} and {classes} classes",
            value=outputs,
            limit=(classes,) if loss == "sparse_categorical_crossentropy" else (1,),
        )


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for axis in shape:
        result *= axis
    return result


def _same(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """[h, w], [h, w, 1] and the flat [h w] are the same image."""
    squeezed = tuple(axis for axis in shape if axis != 1)
    return squeezed == tuple(axis for axis in wanted if axis != 1) or len(shape) == 1

"""What a researcher may ask for: `TrainRequest` and its parts.

A request is public: it holds no data and names datasets by id. It is frozen, strict and finite,
and its digest (`TrainRequest.digest`) is what decisions, reviews and the ledger bind to.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from sytff_policy._model import Document
from sytff_policy.canonical import digest
from sytff_policy.model_spec import ModelSpec

Loss = Literal[
    "sparse_categorical_crossentropy",
    "binary_crossentropy",
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
]

CLASSIFICATION_LOSSES = frozenset({"sparse_categorical_crossentropy", "binary_crossentropy"})

PositiveRate = Annotated[float, Field(gt=0.0, le=1000.0)]
Momentum = Annotated[float, Field(ge=0.0, lt=1.0)]
Identifier = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]


class FixedClipping(Document):
    """Every unit's update is scaled down to L2 norm `norm` at most."""

    kind: Literal["fixed"] = "fixed"
    norm: float = Field(
        default=1.0, gt=0.0, le=1e6, description="Clip norm C (L2), in units of the model weights."
    )


class AdaptiveClipping(Document):
    """The clip norm follows a private estimate of a quantile of update norms.

    Source: Andrew, Thakkar, McMahan and Ramaswamy, "Differentially Private Learning with Adaptive
    Clipping", NeurIPS 2021. `noise_multiplier` is then the effective multiplier of the update and
    of the clipped count together, which exists only while it is below twice
    `clipped_count_stddev`.
    """

    kind: Literal["adaptive"] = "adaptive"
    initial_norm: float = Field(default=0.1, gt=0.0, le=1e6, description="First clip norm (L2).")
    target_quantile: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="Fraction of updates left unclipped."
    )
    learning_rate: float = Field(
        default=0.2, gt=0.0, le=10.0, description="Rate of the geometric clip update, per round."
    )
    clipped_count_stddev: float | None = Field(
        default=None,
        gt=0.0,
        le=1e9,
        description="Noise stddev on the clipped count, in units; None: 0.05 * clients_per_round.",
    )


Clipping = Annotated[FixedClipping | AdaptiveClipping, Field(discriminator="kind")]


class ClientOptimizer(Document):
    """How each virtual silo trains locally."""

    name: Literal["sgd"] = "sgd"
    learning_rate: PositiveRate = 0.1
    momentum: Momentum = 0.0


_USED_BY = {
    "momentum": ("sgd",),
    "beta_1": ("adam", "yogi"),
    "beta_2": ("adam", "yogi"),
    "epsilon": ("adam", "yogi", "adagrad"),
}


class ServerOptimizer(Document):
    """How the server applies the noised mean update."""

    name: Literal["sgd", "adam", "adagrad", "yogi"] = "sgd"
    learning_rate: PositiveRate = 1.0
    momentum: Momentum = Field(default=0.0, description="Used by `sgd` alone.")
    beta_1: Momentum = Field(default=0.9, description="Used by `adam` and `yogi`.")
    beta_2: Momentum = Field(default=0.99, description="Used by `adam` and `yogi`.")
    epsilon: float = Field(
        default=1e-3, gt=0.0, le=1.0, description="Used by `adam`, `yogi` and `adagrad`."
    )

    @field_validator("momentum", "beta_1", "beta_2", "epsilon")
    @classmethod
    def _belongs_to_the_optimizer(cls, value: float, info: ValidationInfo) -> float:
        name, field = info.data.get("name"), str(info.field_name)
        # An argument that does nothing would be taken for one that does.
        if name is not None and name not in _USED_BY[field]:
            default = cls.model_fields[field].default
            if value != default:
                users = " and ".join(_USED_BY[field])
                raise ValueError(f"is a parameter of {users}, not of {name}; leave it at {default}")
        return value


class Evaluation(Document):
    """A differentially private evaluation of the final model, a mechanism with its own charge.

    Each evaluated unit contributes its mean loss (clipped) and, for classifiers, its mean
    accuracy; the bounded contributions are summed, noised and divided by a noised count. For
    classifiers the unit also spreads one count over the pairs of true and predicted class.
    """

    noise_multiplier: float = Field(
        default=5.0,
        ge=0.0,
        le=1e6,
        description="Noise stddev over the L2 sensitivity of one unit's contribution.",
    )
    holdout: float = Field(
        default=0.2,
        ge=0.0,
        le=0.9,
        description="Fraction of units, chosen by a secret hash of the unit id, that are kept out "
        "of training and evaluated on; 0 evaluates on every unit.",
    )


class TrainRequest(Document):
    """One training run that a researcher asks for."""

    train_data_id: Identifier = Field(description="Id of the feature asset.")
    label_data_id: Identifier = Field(description="Id of the label asset of the same dataset.")
    rounds: int = Field(ge=1, le=1_000_000, description="Number of federated rounds.")
    clients_per_round: int = Field(
        ge=1,
        le=1_000_000_000,
        description="Expected cohort size; the sampling rate is clients_per_round / population.",
    )
    noise_multiplier: float = Field(
        ge=0.0,
        le=1e6,
        description="Noise stddev over the clip norm, per round. 0 has unbounded privacy loss.",
    )
    no_clients: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="PySyTFF's number of clients: informational, never above the population.",
    )
    clipping: Clipping = FixedClipping()
    client_optimizer: ClientOptimizer = ClientOptimizer()
    server_optimizer: ServerOptimizer = ServerOptimizer()
    batch_size: int = Field(default=32, ge=1, le=4096, description="Rows per local step.")
    local_epochs: int = Field(default=1, ge=1, le=100, description="Passes over a unit's rows.")
    loss: Loss | None = Field(
        default=None,
        description="None: mean_squared_error for a numeric label; for a class label "
        "binary_crossentropy with one output and sparse_categorical_crossentropy with more.",
    )
    model: ModelSpec | None = Field(
        default=None, description="Architecture; required to train, optional to check a budget."
    )
    evaluation: Evaluation | None = Field(
        default=Evaluation(), description="None: no metrics are computed and none are charged."
    )
    purpose: str = Field(default="", max_length=500, description="What the model is for.")
    idempotency_key: Identifier | None = Field(
        default=None, description="The same key never starts a second run for one researcher."
    )

    @field_validator("purpose")
    @classmethod
    def _printable(cls, value: str) -> str:
        if any(_is_control(character) and character not in "\n\t" for character in value):
            raise ValueError("control characters are not accepted")
        return value

    @property
    def digest(self) -> str:
        """`sha256:` digest of the canonical request."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The request as decoded JSON that `TrainRequest` accepts back unchanged."""
        return self.model_dump(mode="json", exclude_none=False)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


class Researcher(Document):
    """Who asks: as authenticated by the domain, never as claimed by the request."""

    id: Identifier
    roles: tuple[Identifier, ...] = ("researcher",)
    organization: str = Field(default="", max_length=200)
    affiliations: tuple[Identifier, ...] = ()

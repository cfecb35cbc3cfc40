"""DP accounting: events, mechanisms, filters and the planner. Pure; no I/O."""

from sytff_policy.privacy.base import (
    MAX_EPSILON,
    NEIGHBOURING_RELATION,
    FilterKind,
    InvalidFilter,
    Loss,
    PrivacyFilter,
    UnsupportedEvent,
)
from sytff_policy.privacy.certificate import CERTIFICATE
from sytff_policy.privacy.choices import Choice, filter_name, runs_that_fit
from sytff_policy.privacy.epsilon import (
    ACCOUNTANT,
    FEW_ORDERS,
    pld_epsilon,
    rdp_epsilon,
    stated_epsilon,
)
from sytff_policy.privacy.events import (
    Composed,
    Event,
    Gaussian,
    PoissonSampled,
    Repeated,
    UnknownEvent,
    from_json,
    to_dp_event,
)
from sytff_policy.privacy.exact import LARGEST, UnboundedLoss, exact, on_grid
from sytff_policy.privacy.filters import (
    MAX_ORDER,
    MAX_REQUESTS,
    RdpFilter,
    SumFilter,
    ZcdpFilter,
    filter_from_json,
    make_filter,
)
from sytff_policy.privacy.mechanisms import RunMechanism
from sytff_policy.privacy.planner import Plan, plan

__all__ = [
    "ACCOUNTANT",
    "CERTIFICATE",
    "FEW_ORDERS",
    "LARGEST",
    "MAX_EPSILON",
    "MAX_ORDER",
    "MAX_REQUESTS",
    "NEIGHBOURING_RELATION",
    "Choice",
    "Composed",
    "Event",
    "FilterKind",
    "Gaussian",
    "InvalidFilter",
    "Loss",
    "Plan",
    "PoissonSampled",
    "PrivacyFilter",
    "RdpFilter",
    "Repeated",
    "RunMechanism",
    "SumFilter",
    "UnboundedLoss",
    "UnknownEvent",
    "UnsupportedEvent",
    "ZcdpFilter",
    "exact",
    "filter_from_json",
    "filter_name",
    "from_json",
    "make_filter",
    "on_grid",
    "plan",
    "pld_epsilon",
    "rdp_epsilon",
    "runs_that_fit",
    "stated_epsilon",
    "to_dp_event",
]

"""DP accounting: events, mechanisms, filters and the planner. Pure; no I/O."""

from sytff_policy.privacy.base import (
    NEIGHBOURING_RELATION,
    FilterKind,
    InvalidFilter,
    Loss,
    PrivacyFilter,
    UnsupportedEvent,
)
from sytff_policy.privacy.certificate import CERTIFICATE
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
from sytff_policy.privacy.exact import UnboundedLoss, exact, on_grid
from sytff_policy.privacy.filters import (
    RdpFilter,
    SumFilter,
    ZcdpFilter,
    filter_from_json,
    make_filter,
)
from sytff_policy.privacy.mechanisms import RunMechanism
from sytff_policy.privacy.planner import Choice, Plan, plan

__all__ = [
    "ACCOUNTANT",
    "CERTIFICATE",
    "FEW_ORDERS",
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
    "from_json",
    "make_filter",
    "on_grid",
    "plan",
    "pld_epsilon",
    "rdp_epsilon",
    "stated_epsilon",
    "to_dp_event",
]

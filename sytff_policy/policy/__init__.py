"""Policies in Rego: bundles, admission, engines, verdicts."""

from sytff_policy.policy.admission import AdmissionReport, admit
from sytff_policy.policy.bundle import (
    DATASET_PACKAGE,
    NODE_PACKAGE,
    Bundle,
    BundleRejected,
    load_bundle,
    make_bundle,
)
from sytff_policy.policy.document import DatasetFacts, Usage, build_input, input_schema
from sytff_policy.policy.embedded import EmbeddedEngine
from sytff_policy.policy.engine import PolicyEngine, TestResult
from sytff_policy.policy.library import library_root, node_bundle, template, template_names
from sytff_policy.policy.verdict import Bound, Verdict

__all__ = [
    "DATASET_PACKAGE",
    "NODE_PACKAGE",
    "AdmissionReport",
    "Bound",
    "Bundle",
    "BundleRejected",
    "DatasetFacts",
    "EmbeddedEngine",
    "PolicyEngine",
    "TestResult",
    "Usage",
    "Verdict",
    "admit",
    "build_input",
    "input_schema",
    "library_root",
    "load_bundle",
    "make_bundle",
    "node_bundle",
    "template",
    "template_names",
]

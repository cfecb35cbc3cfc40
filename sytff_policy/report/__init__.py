"""What auditors make of a ledger: selections, tables and an offline report. Reads entries alone."""

from sytff_policy.report.facts import Facts, gather
from sytff_policy.report.page import render
from sytff_policy.report.rows import Row, read_rows, rows_of
from sytff_policy.report.selection import Selection, instant
from sytff_policy.report.tables import FORMATS, write_rows

__all__ = [
    "FORMATS",
    "Facts",
    "Row",
    "Selection",
    "gather",
    "instant",
    "read_rows",
    "render",
    "rows_of",
    "write_rows",
]

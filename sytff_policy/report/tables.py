"""Rows as CSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any

from sytff_policy.canonical import canonical_bytes
from sytff_policy.report.rows import Row

COLUMNS = (
    "seq",
    "time",
    "kind",
    "dataset",
    "researcher",
    "organization",
    "decision_id",
    "run_id",
    "decision",
    "codes",
    "status",
    "epsilon",
    "charge",
    "hash",
    "body",
)
_BATCH = 10_000


def write_rows(rows: Iterable[Row], stream: IO[bytes], form: str) -> int:
    """Writes rows in one of `FORMATS`; returns how many.

    Columns are those of `Row`; `charge` is the exact loss in the filter's units, `body` the whole
    entry's body as JSON, so that no format leaves anything out.
    """
    return _WRITERS[form](rows, stream)


def _record(row: Row) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "time": row.time,
        "kind": row.kind,
        "dataset": row.dataset,
        "researcher": row.researcher,
        "organization": row.organization,
        "decision_id": row.decision_id,
        "run_id": row.run_id,
        "decision": row.decision,
        "codes": list(row.codes),
        "status": row.status,
        "epsilon": None if row.epsilon is None else float(row.epsilon),
        "charge": list(row.body.get("charge", [])),
        "hash": row.hash,
        "body": canonical_bytes(row.body).decode(),
    }


def _csv(rows: Iterable[Row], stream: IO[bytes]) -> int:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    count = 0
    try:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for row in rows:
            record = _record(row)
            record["time"] = _time(row)
            record["codes"], record["charge"] = " ".join(row.codes), " ".join(record["charge"])
            writer.writerow([_cell(record[name]) for name in COLUMNS])
            count += 1
    finally:
        # The stream is the caller's, who closes it or goes on.
        text.detach()
    return count


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def _jsonl(rows: Iterable[Row], stream: IO[bytes]) -> int:
    count = 0
    for row in rows:
        record = {**_record(row), "time": _time(row), "body": row.body}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        stream.write(line.encode() + b"\n")
        count += 1
    return count


def _parquet(rows: Iterable[Row], stream: IO[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.list_(pa.string())
    types = {
        "seq": pa.int64(),
        "time": pa.timestamp("us", tz="UTC"),
        "epsilon": pa.float64(),
        "codes": texts,
        "charge": texts,
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(stream, schema) as writer:
        for batch in _batches(rows):
            writer.write_table(pa.Table.from_pylist([_record(row) for row in batch], schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH)):
        yield batch


def _time(row: Row) -> str:
    return row.time.isoformat(timespec="microseconds").replace("+00:00", "Z")


_WRITERS: dict[str, Callable[[Iterable[Row], IO[bytes]], int]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
FORMATS = tuple(_WRITERS)
"""Names of the formats."""

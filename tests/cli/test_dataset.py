"""`sytff dataset`: registering all of it or nothing, and showing what is public."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.cli.command import Sytff, register
from tests.cli.conftest import ROWS


def test_registering_says_what_requests_need(sytff: Sytff, empty: Path) -> None:
    result = sytff(*register())
    assert result.code == 0
    assert "people: 3 people, version hmac-sha256:" in result.out
    assert "train_data_id" in result.out
    assert "label_data_id" in result.out
    assert "epsilon 8 at delta 0.00001: 0 spent, 0 reserved, 8 left" in result.out
    assert "starter policy" in result.err


def test_the_document_is_what_show_prints(sytff: Sytff, empty: Path) -> None:
    document = sytff.json(*register())
    assert document.pop("expected") == []
    assert sytff.json("dataset", "show", "people") == document
    assert sytff.json("dataset", "list") == {"datasets": [document]}
    assert set(document) == {
        "name",
        "version",
        "population",
        "owner",
        "schema",
        "assets",
        "filter",
        "policy",
        "budget",
    }
    assert document["population"] == 3
    assert [asset["role"] for asset in document["assets"]] == ["features", "label"]
    assert document["budget"] == {
        "epsilon": 8,
        "delta": 1e-05,
        "spent": 0,
        "reserved": 0,
        "remaining": 8,
    }


@pytest.mark.parametrize(
    ("features", "shape"),
    [
        ("age", [1]),
        ("age:25..64", [1]),
        ("income~1.5/0.5", [1]),
        ("region:{north|south}", [2]),
        ("score:{1|2|3|4}", [4]),
        ("age:25..64, region:{north|south} ,income~1.5/.5,score", [5]),
        ("income:-1.5e0..+4", [1]),
    ],
)
def test_every_form_of_a_feature(
    features: str, shape: list[int], sytff: Sytff, empty: Path
) -> None:
    assert sytff.json(*register(features=features))["schema"]["feature_shape"] == shape


@pytest.mark.parametrize(
    ("label", "name", "classes"),
    [
        ("ill", "ill", 2),
        ("grade:3", "grade", 3),
        ("region:{north|south}", "region", 2),
        ("income>1", "income", 2),
        ("rich=income>=3.5", "rich", 2),
        ("third=score==3", "third", 2),
        ("cost:0..500", "cost", 0),
    ],
)
def test_every_form_of_a_label(
    label: str, name: str, classes: int, sytff: Sytff, empty: Path
) -> None:
    schema = sytff.json(*register(label=label))["schema"]
    assert (schema["label_asset"], schema["classes"]) == (name, classes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": None}, "--unit: is needed"),
        ({"features": None}, "--features: is needed"),
        ({"label": None}, "--label: is needed"),
        ({"data": "nowhere.csv"}, "--data: no such file (got 'nowhere.csv')"),
        ({"data": "."}, "--data: is not a file"),
        ({"data": "people.txt"}, ".csv, .parquet, .npz"),
        ({"unit": "who"}, "--data: has no column 'who'"),
        ({"features": "age,,sex"}, "--features: has an empty entry"),
        ({"features": ""}, "--features: has an empty entry"),
        ({"features": "age:64..25"}, "low 64.0 must be below high 25.0"),
        ({"features": "age:25.."}, "--features: is not understood (got 'age:25..')"),
        ({"features": "age~1/0"}, "greater than 0"),
        ({"features": "sex:{f}"}, "at least 2"),
        ({"features": "sex:{f|f}"}, "not distinct"),
        ({"features": "age,age"}, "'age' is declared twice"),
        ({"features": "person"}, "cannot be a feature"),
        ({"features": "ill"}, "cannot be a feature too"),
        ({"features": "sex"}, "column 'sex', row 1"),
        ({"features": "sex:{f|x}"}, "column 'sex', row 3"),
        ({"label": "ill:1"}, "greater than or equal to 2"),
        ({"label": "grade"}, "column 'grade', row 3"),
        ({"label": "a=b=c"}, "--label: is not understood"),
        ({"label": "person"}, "cannot be the label"),
        ({"epsilon": "0"}, "--epsilon: must be a finite number above 0 (got '0')"),
        ({"epsilon": "-1"}, "--epsilon: must be a finite number above 0 (got '-1')"),
        ({"epsilon": "nan"}, "--epsilon: must be a finite number above 0 (got 'nan')"),
        ({"epsilon": "inf"}, "--epsilon: must be a finite number above 0 (got 'inf')"),
        ({"epsilon": "eight"}, "--epsilon: is not a number (got 'eight')"),
        ({"epsilon": "1e400"}, "--epsilon: is out of range (got '1e400'); accepted: 1e-9 to"),
        ({"epsilon": "1e-10"}, "--epsilon: is out of range (got '1e-10')"),
        ({"epsilon": "0.001"}, "--epsilon: is too small: filter rdp admits nothing"),
        ({"delta": "1"}, "--delta: is out of range (got '1')"),
        ({"delta": "0"}, "--delta: must be a finite number above 0"),
        ({"delta": "1e-400"}, "--delta: is out of range"),
        ({"delta": "0.34"}, "--delta: must be below 1 / people = 1/3"),
        ({"filter": "pld"}, "--filter: is unknown (got 'pld'); accepted: rdp, zcdp, sum"),
        ({"filter": "zcdp", "epsilon": "1e-9"}, "--epsilon: is too small: filter zcdp"),
        ({"order": "1"}, "--order: is out of range (got 1); accepted: 2 to 256"),
        ({"order": "2"}, "admits nothing at order 2"),
        ({"order": "4", "filter": "sum"}, "--order: is of the rdp filter, not of sum"),
        ({"filter": "sum", "requests": "0"}, "--requests: is out of range (got 0)"),
        ({"expect": "rounds=10"}, "--expect: lacks clients_per_round"),
        ({"expect": "rounds=1,rounds=2"}, "--expect: names rounds twice"),
        ({"expect": "round=1"}, "--expect: is not understood (got 'round=1')"),
        ({"expect": "rounds"}, "--expect: is not understood (got 'rounds')"),
        ({"expect": ""}, "--expect: is not understood"),
        ({"policy": "nowhere"}, "nowhere"),
        ({"name": "two words"}, "NAME: is not a dataset name (got 'two words')"),
        ({"name": "../up"}, "NAME: is not a dataset name"),
        ({"name": ""}, "NAME: is not a dataset name"),
        ({"schema": "nowhere.json", "features": None, "label": None}, "--schema: no such file"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_and_nothing_is_registered(
    changes: dict[str, Any], expected: str, sytff: Sytff, empty: Path
) -> None:
    Path("people.txt").write_text(ROWS)
    entries = sytff.json("ledger", "list")["entries"]
    assert expected in sytff.refused(*register(**changes))
    assert sytff.json("dataset", "list") == {"datasets": []}
    assert sytff.json("ledger", "list")["entries"] == entries
    # Whatever the failed attempt left, the next one is not in its way.
    assert sytff.json(*register())["population"] == 3
    assert sytff.json("ledger", "verify")["verified"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("rounds=1e2,clients_per_round=2,noise_multiplier=1", "--expect rounds: is not an integer"),
        ("rounds=0,clients_per_round=2,noise_multiplier=1", "--expect rounds: is out of range"),
        ("rounds=1000001,clients_per_round=2,noise_multiplier=1", "accepted: 1 to 1000000"),
        ("rounds=5,clients_per_round=0,noise_multiplier=1", "--expect clients_per_round"),
        ("rounds=5,clients_per_round=4,noise_multiplier=1", "(got 4); accepted: 1 to 3"),
        ("rounds=5,clients_per_round=2,noise_multiplier=0", "--expect noise_multiplier"),
        ("rounds=5,clients_per_round=2,noise_multiplier=nan", "--expect noise_multiplier"),
        (
            "rounds=5,clients_per_round=2,noise_multiplier=1,evaluation_noise=0",
            "--expect evaluation_noise",
        ),
        (f"rounds={'9' * 5000},clients_per_round=2,noise_multiplier=1", "--expect rounds"),
    ],
)
def test_an_expected_run_is_checked(run: str, expected: str, sytff: Sytff, empty: Path) -> None:
    said = sytff.refused(*register(expect=run))
    assert expected in said
    assert len(said) < 300


def test_values_of_rows_are_never_quoted(sytff: Sytff, empty: Path) -> None:
    Path("secret.csv").write_text("person,age,ill\nann,hunter2,1\n")
    said = sytff.refused(*register(data="secret.csv"))
    assert "column 'age', row 1" in said
    assert "hunter2" not in said


def test_expected_runs_plan_the_filter_and_are_counted(sytff: Sytff, node: Path) -> None:
    arguments = register(
        "other", "registry.csv", unit="person_id", label="visits>1", features="age:20..70"
    )
    small = "rounds=100,clients_per_round=10,noise_multiplier=1"
    large = " rounds = 20 , clients_per_round=300,noise_multiplier=8,evaluation_noise=5"
    document = sytff.json(*arguments, "--expect", small, "--expect", large)
    assert document["filter"]["kind"] == "rdp"
    assert [item["run"] for item in document["expected"]] == [
        "100 rounds, 10 of 300 people, noise 1",
        "20 rounds, 300 of 300 people, noise 8",
    ]
    assert all(item["admitted"] >= 1 for item in document["expected"])


def test_an_expected_run_that_does_not_fit_is_warned_of(sytff: Sytff, node: Path) -> None:
    arguments = register(
        "other", "registry.csv", unit="person_id", label="visits>1", features="age:20..70"
    )
    result = sytff(*arguments, "--expect", "rounds=9999,clients_per_round=300,noise_multiplier=1")
    assert result.code == 0
    assert "warning: not one run of 9999 rounds" in result.out


@pytest.mark.parametrize(
    ("flags", "stated"),
    [
        (["--filter", "rdp", "--order", "8"], {"kind": "rdp", "order": 8}),
        (["--filter", "zcdp"], {"kind": "zcdp"}),
        (["--filter", "sum"], {"kind": "sum", "requests": 10}),
        (["--filter", "sum", "--requests", "3"], {"kind": "sum", "requests": 3}),
    ],
)
def test_every_filter_can_be_chosen(
    flags: list[str], stated: dict[str, Any], sytff: Sytff, empty: Path
) -> None:
    assert sytff.json(*register(), *flags)["filter"] == {
        **stated,
        "epsilon": "8",
        "delta": "0.00001",
    }


def test_parquet_files_are_data_too(sytff: Sytff, empty: Path) -> None:
    table = pyarrow.csv.read_csv("people.csv")
    pyarrow.parquet.write_table(table, "people.parquet")
    document = sytff.json(*register(data="people.parquet"))
    assert document["population"] == 3
    # The same rows in another format are the same version.
    assert "this data is registered" in sytff.refused(*register("again"))


def test_images_come_as_arrays(sytff: Sytff, empty: Path) -> None:
    np.savez(
        "images.npz",
        person=np.array(["ann", "bob", "bob"]),
        images=np.zeros((3, 4, 4), np.uint8),
        digit=np.array([0, 9, 3]),
    )
    arguments = register(data="images.npz", features="images:[4x4]/255", label="digit:10")
    schema = sytff.json(*arguments)["schema"]
    assert (schema["feature_asset"], schema["feature_shape"]) == ("images", [4, 4])
    assert schema["classes"] == 10
    wrong = register("other", data="images.npz", features="images:[5x4]/255", label="digit:10")
    assert "images" in sytff.refused(*wrong)


def test_a_name_is_given_once(sytff: Sytff, empty: Path) -> None:
    sytff.json(*register())
    assert "NAME: a dataset of this name exists (got 'people')" in sytff.refused(*register())
    assert sytff(*register(), "--json").document["error"] == "dataset.exists"
    Path("more.csv").write_text(ROWS + "dan,40,m,south,2,1,1,0,3\n")
    assert "of this name exists" in sytff.refused(*register(data="more.csv"))
    assert sytff.json("dataset", "show", "people")["population"] == 3


def test_the_same_people_get_no_second_budget_under_another_name(sytff: Sytff, empty: Path) -> None:
    sytff.json(*register())
    said = sytff.refused(*register("again"))
    assert "this data is registered as 'people'" in said
    assert "Grant the existing dataset more budget" in said
    shuffled = ROWS.splitlines()
    Path("shuffled.csv").write_text(
        "\n".join([shuffled[0], shuffled[3], *shuffled[1:3], shuffled[4]])
    )
    assert "this data is registered as 'people'" in sytff.refused(
        *register("again", data="shuffled.csv")
    )
    assert len(sytff.json("dataset", "list")["datasets"]) == 1


def test_a_policy_that_is_not_admitted_registers_nothing(sytff: Sytff, empty: Path) -> None:
    sytff.json("policy", "new", "policy")
    rules = Path("policy/policy.rego")
    rules.write_text(rules.read_text() + "\nleak := http.send({})\n")
    said = sytff.refused(*register(policy="policy"))
    assert "policy.rego" in said
    assert "http.send" in said
    assert sytff.json("dataset", "list") == {"datasets": []}
    assert list((empty / "bundles").iterdir()) == []


def test_numbers_used_as_they_are_are_pointed_out_once(sytff: Sytff, empty: Path) -> None:
    result = sytff(*register(features="age,income,score:1..4"))
    assert result.code == 0
    assert result.err.count("used as they are: age, income") == 1


def test_show_of_what_does_not_exist_lists_what_does(sytff: Sytff, node: Path) -> None:
    assert "there is: registry" in sytff.refused("dataset", "show", "nope")
    assert sytff("dataset", "show", "nope", "--json").document["error"] == "not_found"


def test_an_empty_node_says_how_to_register(sytff: Sytff, empty: Path) -> None:
    assert "sytff dataset register" in sytff("dataset", "list").out


def test_epsilon_is_kept_exactly_and_never_raised(sytff: Sytff, empty: Path) -> None:
    stated = sytff.json(*register(epsilon="7.9999999999"))["filter"]["epsilon"]
    assert Decimal(stated) == Decimal("7.999999999")

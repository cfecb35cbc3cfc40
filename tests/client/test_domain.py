"""What a researcher sees of a domain: names, ids, shapes and budgets, and not one row."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

import sytff_policy as sy
from sytff_policy.errors import InvalidInputs, NotFound
from sytff_policy.home import HomeError
from tests.client.digits import make_image_home
from tests.support import make_home


def test_an_assets_id_is_what_requests_carry(domain: sy.Domain) -> None:
    dataset = domain.datasets[0]
    text = dataset["images"].id_at_location.to_string()
    assert text == str(dataset["images"].id_at_location)
    assert len(text) == 32
    assert text != dataset["stroke"].id_at_location.to_string()
    assert text == domain.datasets["strokes"]["features"].id_at_location.to_string()


def test_assets_are_found_by_name_by_role_and_by_place(domain: sy.Domain) -> None:
    dataset = domain.datasets[0]
    assert dataset["images"] == dataset["features"] == dataset[0] == dataset[-2]
    assert dataset["stroke"] == dataset["labels"] == dataset["label"] == dataset[1]
    assert [asset.name for asset in dataset] == ["images", "stroke"]
    assert len(dataset) == 2
    assert dataset["images"].description == {"shape": [8, 8]}


def test_datasets_are_found_by_name_and_by_place(domain: sy.Domain) -> None:
    datasets = domain.datasets
    assert len(datasets) == 1
    assert [found.name for found in datasets] == ["strokes"]
    assert datasets[0].name == datasets[-1].name == datasets["strokes"].name == "strokes"
    assert [found.name for found in datasets[:1]] == ["strokes"]
    assert datasets[1:] == []
    assert "strokes" in datasets
    assert "other" not in datasets


@pytest.mark.parametrize("key", [1, -2, 10**9])
def test_a_place_without_a_dataset_is_an_index_error(domain: sy.Domain, key: int) -> None:
    with pytest.raises(IndexError, match=f"no dataset {key}: the domain has 1"):
        domain.datasets[key]


def test_an_unknown_name_is_answered_with_the_known_ones(domain: sy.Domain) -> None:
    with pytest.raises(NotFound, match="no dataset named 'digits'; there is: strokes"):
        domain.datasets["digits"]
    with pytest.raises(NotFound, match="no asset named 'pixels'; there is: images, stroke"):
        domain.datasets[0]["pixels"]


def test_a_dataset_shows_its_declaration_and_its_budget(domain: sy.Domain) -> None:
    dataset = domain.datasets[0]
    assert dataset.population == 60
    assert "sha256:" in dataset.version
    assert dataset.schema["classes"] == 2
    assert dataset.budget.remaining == dataset.budget.epsilon == 8


def test_representations_are_for_people(domain: sy.Domain) -> None:
    text = repr(domain)
    assert text.splitlines()[0] == f"<Domain {domain.home.folder} as 'alice'>"
    assert text.splitlines()[1:] == repr(domain.datasets[0]).splitlines()
    assert "<Dataset 'strokes': 60 people, assets 'images' [8, 8] and 'stroke'>" in text
    assert "epsilon 8 at delta 0.00001: 0 spent, 0 reserved, 8 left" in text
    asset = domain.datasets[0]["images"]
    assert repr(asset) == f"<Asset 'images': id {asset.id_at_location}, {{'shape': [8, 8]}}>"


def test_a_domain_without_datasets_says_so(tmp_path: Path) -> None:
    sy.open(make_empty(tmp_path)).close()
    with sy.open(tmp_path / "empty") as domain:
        assert repr(domain.datasets) == "<no datasets>"
        with pytest.raises(IndexError, match="the domain has 0"):
            domain.datasets[0]


def make_empty(folder: Path) -> Path:
    from sytff_policy.home import Home

    Home.create(folder / "empty").close()
    return folder / "empty"


def test_several_datasets_keep_their_order(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.close()
    with sy.open(str(tmp_path / "node")) as domain:
        assert [dataset.name for dataset in domain.datasets] == ["registry"]


def test_what_is_no_node_is_said(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="is not a node"):
        sy.open(tmp_path)


def test_who_asks_is_the_login_a_name_or_a_researcher(tmp_path: Path) -> None:
    make_image_home(tmp_path).close()
    node = tmp_path / "node"
    guest = sy.Researcher(id="mallory", roles=("guest",))
    for given, expected in ((None, getpass.getuser()), ("bob", "bob"), (guest, "mallory")):
        with sy.open(node, researcher=given) as domain:
            assert domain.researcher.id == expected
    for wrong in ("", "a\nb", 3):
        with pytest.raises(InvalidInputs, match="researcher: id"):
            sy.open(node, researcher=wrong)  # type: ignore[arg-type]


def test_a_check_answers_and_spends_nothing(domain: sy.Domain) -> None:
    dataset = domain.datasets[0]
    request = sy.TrainRequest(
        train_data_id=dataset["images"].id_at_location.to_string(),
        label_data_id=dataset["stroke"].id_at_location.to_string(),
        rounds=3,
        clients_per_round=6,
        noise_multiplier=1.0,
    )
    entries = len(list(domain.home.ledger.entries()))
    decision = domain.check(request)
    assert decision.allowed
    assert repr(decision).startswith(f"<Decision {decision.decision_id}: allow on 'strokes', ")
    assert len(list(domain.home.ledger.entries())) == entries
    assert dataset.budget.remaining == 8


def test_the_package_has_the_names_that_it_says(domain: sy.Domain) -> None:
    del domain
    names: Any = sy.__all__
    assert all(hasattr(sy, name) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sy.nothing  # noqa: B018

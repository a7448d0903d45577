"""Resolving the backbone `auto`, and the recipes for the backbone `photos`."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vlprompt.config.recipes import list_recipes
from vlprompt.config.resolve import DEFAULT_METHODS, names_backbone, resolve_config
from vlprompt.config.schema import RunConfig
from vlprompt.errors import VLPromptError

PHOTOS = sorted(name.partition("/")[2] for name in list_recipes() if name.startswith("photos/"))


def resolved(method: str | None = None, recipe: str | None = None, **settings: Any) -> RunConfig:
    given = {"data.source": "openmoji", **{key.replace("__", "."): value for key, value in settings.items()}}
    return resolve_config(method=method, recipe=recipe, settings=given)


@pytest.mark.usefixtures("without_photos")
def test_without_the_extra_it_is_the_embedded_model() -> None:
    config = resolved()
    assert (config.backbone.source, config.method.name, config.recipe) == ("embedded", "dapt", "paper")
    assert config == resolved(backbone__source="auto") == resolved(backbone__source="embedded")


@pytest.mark.usefixtures("with_photos")
def test_with_the_extra_it_is_photos() -> None:
    config = resolved()
    assert (config.backbone.source, config.method.name, config.recipe) == (
        "photos",
        DEFAULT_METHODS["photos"],
        "photos",
    )
    assert config == resolved(backbone__source="auto") == resolved(backbone__source="photos")
    assert config.overrides == {}
    named = resolved(backbone__source="embedded")
    assert (named.backbone.source, named.method.name, named.recipe) == ("embedded", "dapt", "paper")


@pytest.mark.usefixtures("with_photos")
def test_a_configuration_holds_the_name_however_it_is_made() -> None:
    config = RunConfig(method={"name": "coop"}, data={"source": "x"})
    assert config.backbone.source == "photos"
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("method", PHOTOS)
def test_recipes_for_photos(method: str) -> None:
    config = resolved(method, backbone__source="photos")
    assert (config.recipe, config.overrides, config.protocol) == ("photos", {}, "few-shot")
    assert config.optim == resolved(method, f"photos/{method}", backbone__source="photos").optim
    assert config == resolved(method, "photos", backbone__source="photos")
    across = resolve_config(
        method=method, protocol="cross-dataset", settings={"backbone.source": "photos", "data.source": "x"}
    )
    assert (across.protocol, across.recipe, across.optim) == ("cross-dataset", "photos", config.optim)
    changed = resolved(method, backbone__source="photos", optim__lr=0.5)
    assert (changed.recipe, changed.overrides) == ("photos", {"optim.lr": 0.5})


def test_every_method_that_photos_can_carry_has_a_recipe() -> None:
    expected = "cocoop coop dapt e2mim kgcoop linear-probe prograd tip-adapter tip-adapter-f zero-shot"
    assert expected.split() == PHOTOS
    assert DEFAULT_METHODS["photos"] in PHOTOS


def test_other_recipes_on_photos(tmp_path: Path) -> None:
    sources = {"backbone__source": "photos"}
    paper = resolved("dapt", "paper", **sources)
    assert (paper.recipe, paper.method.options["n_visual"]) == ("paper", 4)
    unified = resolved("dapt", "unified", **sources)
    assert (unified.recipe, unified.method.options["n_visual"]) == ("unified", 0), "the options are its own for photos"
    assert unified.optim == resolved("coop", "unified", backbone__source="embedded").optim
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"backbone": {"source": "photos"}, "optim": {"epochs": 3}}))
    mine = resolved("dapt", str(file))
    assert (mine.recipe, mine.optim.epochs, mine.method.options["n_visual"]) == ("mine.yaml", 3, 0)
    assert resolved("maple", **sources).recipe == "paper", "which ends when the method is made"
    with pytest.raises(
        VLPromptError, match=r"`recipe` photos has settings for cocoop, .*, but not for maple; use paper"
    ):
        resolved("maple", "photos", **sources)


def test_what_names_a_backbone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"backbone": {"source": "RN50/openai"}}))
    assert not names_backbone(settings={"backbone.source": None, "data.source": "openmoji"})
    assert not names_backbone(settings={"backbone.source": "auto"})
    assert not names_backbone(recipe="unified", settings={})
    assert not names_backbone(recipe="photos", settings={})
    assert not names_backbone(recipe="dapt/published", settings={"data.source": "dtd"})
    assert names_backbone(settings={"backbone.source": "photos"})
    assert names_backbone(recipe=str(file), settings={})

"""Fuzz tests of file readers: any content gives either a valid result or one clear error."""

import copy
import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import nn

from tests.helpers.impatient import Impatient
from tests.reliability.conftest import Setting
from vlprompt.backbones.backbone import load_backbone
from vlprompt.backbones.sources.checkpoints import read_state_dict
from vlprompt.data.readers.split_file import read_split, verify_split
from vlprompt.data.readers.table import read_table
from vlprompt.errors import VLPromptError
from vlprompt.experiments.run import run_experiment
from vlprompt.methods.create import create_method
from vlprompt.results.summary import print_record
from vlprompt.runs.importing import read_checkpoint, read_names, read_options, renamed
from vlprompt.runs.record import read_record
from vlprompt.runs.state import load_prompts, load_state, read_progress
from vlprompt.training.fit import make_optimizer

pytestmark = pytest.mark.usefixtures("without_photos")  # a damaged record may lack its backbone

# Files and methods are reused, since loading a model takes tens of milliseconds.
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# Any JSON value.
numbers = st.integers() | st.floats() | st.just(10**400)
words = st.text(max_size=20) | st.sampled_from(["..", "/", "\0", "[/b]", "\x1b[2J", "nan", "\ud800"])
anything = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def survives(read: Callable[[], object]) -> None:
    """Call a reader, which must either succeed or raise a one-line error."""
    try:
        read()
    except VLPromptError as error:
        assert str(error).strip()
        assert "\n" not in str(error)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage content: change, remove, repeat or truncate bytes."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, max(0, len(found) - 1)))
        length = draw(st.integers(1, 16))
        match draw(st.sampled_from(["other", "gone", "twice", "cut"])):
            case "other":
                found[begin : begin + length] = draw(st.binary(min_size=length, max_size=length))
            case "gone":
                del found[begin : begin + length]
            case "twice":
                found[begin:begin] = found[begin : begin + length]
            case "cut":
                del found[begin:]
    return bytes(found)


@st.composite
def changed(draw: st.DrawFn, content: Any) -> Any:
    """Remove or replace one value, at any depth, of JSON content."""
    root = [copy.deepcopy(content)]
    place: Any = root
    key: Any = 0
    while isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 4)):
        place = place[key]
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    if place is not root and draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(anything)
    return root[0]


def files(content: bytes) -> st.SearchStrategy[bytes]:
    """Damaged and arbitrary files."""
    return damaged(content) | st.binary(max_size=200)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, setting: Setting) -> Path:
    """A folder to write to, with the images of the setting."""
    return shutil.copytree(setting.images, tmp_path_factory.mktemp("place") / "images")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, setting: Setting) -> Path:
    """The folder of a run with a state, to write to."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(KeyboardInterrupt):
        run_experiment(setting.config, folder, reporter=Impatient(after=2), **setting.loaded)
    return folder


def rows_of(images: Path) -> list[dict[str, Any]]:
    paths = sorted(path.relative_to(images).as_posix() for path in images.glob("*/*.png"))
    return [
        {"path": path, "label": path.split("/")[0], "split": ("train", "test")[n % 2]} for n, path in enumerate(paths)
    ]


@quick
@given(data=st.data())
def test_csv(data: st.DataObject, place: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame(rows_of(place)).write_csv(buffer)
    text = st.text("path,label\n\r\"'01.-/\0é", max_size=60).map(lambda text: f"path,label\n{text}".encode())
    (place / "mine.csv").write_bytes(data.draw(files(buffer.getvalue()) | text))
    survives(lambda: read_table(place / "mine.csv"))


@quick
@given(data=st.data())
def test_parquet(data: st.DataObject, place: Path) -> None:
    buffer = io.BytesIO()
    pl.DataFrame(rows_of(place)).write_parquet(buffer)
    (place / "mine.parquet").write_bytes(data.draw(files(buffer.getvalue())))
    survives(lambda: read_table(place / "mine.parquet"))


@quick
@given(data=st.data())
def test_parquet_with_columns_of_any_type(data: st.DataObject, place: Path) -> None:
    kinds = [
        st.integers(-9, 9),
        st.floats(),
        st.booleans(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.lists(st.integers(0, 3), max_size=2),
        st.dates(),
        st.fixed_dictionaries({"a": st.integers(0, 3)}),
    ]
    columns = {}
    for name in ("path", "label", "split"):
        kind = st.none() | data.draw(st.sampled_from(kinds))
        columns[name] = data.draw(st.lists(kind, min_size=3, max_size=3))
    table = pl.DataFrame(columns, strict=False)
    table.write_parquet(place / "mine.parquet")
    survives(lambda: read_table(place / "mine.parquet"))


@quick
@given(data=st.data())
def test_user_written_split(data: st.DataObject, place: Path) -> None:
    rows = rows_of(place)
    lines = data.draw(st.lists(changed(rows[0]) | st.sampled_from(rows), max_size=4)) + rows[4:]
    text = "\n".join(json.dumps(line) for line in lines).encode()
    (place / "mine.jsonl").write_bytes(data.draw(st.just(text) | files(text)))
    survives(lambda: read_split(place / "mine.jsonl"))


@quick
@given(data=st.data())
def test_split_with_a_header(data: st.DataObject, run: Path, place: Path) -> None:
    lines = [json.loads(line) for line in (run / "split.jsonl").read_text().splitlines()]
    which = data.draw(st.integers(0, len(lines) - 1))
    lines[which] = data.draw(changed(lines[which]))
    text = "\n".join(json.dumps(line) for line in lines).encode()
    (place / "other.jsonl").write_bytes(data.draw(st.just(text) | files(text)))
    for read in (read_split, verify_split):
        survives(lambda read=read: read(place / "other.jsonl"))


@quick
@given(data=st.data())
def test_class_names(data: st.DataObject, place: Path) -> None:
    suffix = data.draw(st.sampled_from(["json", "yaml", "csv", "txt"]))
    content = json.dumps({"ant": "an ant", "bee": "a bee"}).encode()
    text = st.text("ab:,-\n \"'&*!{}[]01?|>\0", max_size=40).map(str.encode)
    (place / f"names.{suffix}").write_bytes(
        data.draw(files(content) | changed([1, "a"]).map(json.dumps).map(str.encode) | text)
    )
    survives(lambda: read_names(place / f"names.{suffix}"))


@quick
@given(data=st.data())
def test_record(data: st.DataObject, setting: Setting, place: Path) -> None:
    record = json.loads((setting.folder / "run.json").read_text())
    text = json.dumps(data.draw(changed(record))).encode()
    (place / "run.json").write_bytes(data.draw(st.just(text) | files(text)))

    def read() -> None:
        found = read_record(place)
        print_record(found, place)
        found.write(place)  # and writing it again gives the same
        again = read_record(place)
        assert repr(again) == repr(found)

    survives(read)


@quick
@given(data=st.data())
def test_state(data: st.DataObject, setting: Setting, run: Path, place: Path) -> None:
    (place / "state.safetensors").write_bytes(data.draw(files((run / "state.safetensors").read_bytes())))
    method = create_method("coop", setting.loaded["backbone"], ["a", "b"], n_ctx=2)
    result_hash = read_record(run).result_hash

    def read() -> None:
        optimizer = make_optimizer(method, setting.config.optim)
        load_state(place, method, optimizer, result_hash=result_hash)
        method.loss(method(torch.zeros(2, method.backbone.embed_dim)), torch.tensor([0, 1])).total.backward()
        optimizer.step()

    survives(read)
    survives(lambda: read_progress(place))


@quick
@given(data=st.data())
def test_metadata_of_a_state(data: st.DataObject, setting: Setting, run: Path, place: Path) -> None:
    with safe_open(run / "state.safetensors", "pt") as file:
        about = file.metadata()
    key = data.draw(st.sampled_from(sorted(about)))
    about[key] = data.draw(
        st.text(max_size=30) | anything.map(json.dumps) | changed(json.loads(about["history"])).map(json.dumps)
    )
    (place / "state.safetensors").write_bytes(save(load_file(run / "state.safetensors"), about))
    method = create_method("coop", setting.loaded["backbone"], ["a", "b"], n_ctx=2)
    optimizer = make_optimizer(method, setting.config.optim)
    survives(lambda: load_state(place, method, optimizer, result_hash=about["result_hash"]))
    survives(lambda: read_progress(place))


SHAPES = st.lists(st.integers(0, 5), max_size=4)
KINDS = st.sampled_from(
    [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8, torch.complex64]
)


@quick
@given(data=st.data())
@pytest.mark.parametrize("name", ["coop", "tip-adapter-f", "linear-probe", "promptsrc"])
def test_prompts(name: str, data: st.DataObject, setting: Setting, place: Path) -> None:
    method = create_method(name, setting.loaded["backbone"], ["a", "b"])
    tensors = {key: value.contiguous() for key, value in method.state_dict().items()}
    for key in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=2, unique=True)):
        del tensors[key]
    for key in data.draw(st.lists(st.sampled_from(sorted({*tensors, "more"})), max_size=2)):
        tensors[key] = torch.zeros(data.draw(SHAPES), dtype=data.draw(KINDS))
    about = {"owner": json.dumps(data.draw(anything))}
    content = save(tensors, data.draw(st.sampled_from([None, about])))
    (place / "prompts.safetensors").write_bytes(data.draw(st.just(content) | files(content)))

    def read() -> None:
        load_prompts(place, method)
        with torch.no_grad():
            method.eval()(
                torch.zeros(2, 3, 32, 32) if method.adapts_images else torch.zeros(2, method.backbone.embed_dim)
            )

    survives(read)


@quick
@given(data=st.data())
def test_published_checkpoints(data: st.DataObject, place: Path) -> None:
    buffer = io.BytesIO()
    tensors = {"ctx": torch.randn(2, 8), "token_prefix": torch.randn(2, 1, 8), "token_suffix": torch.randn(2, 5, 8)}
    torch.save({"state_dict": tensors, "epoch": 50, "optimizer": {"state": {0: {"momentum": None}}}}, buffer)
    (place / "model.pth.tar").write_bytes(data.draw(files(buffer.getvalue())))

    def read() -> None:
        found = renamed("coop", read_checkpoint(place / "model.pth.tar"), place / "model.pth.tar")
        read_options("coop", found, place / "model.pth.tar")

    survives(read)


@quick
@given(data=st.data())
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights(name: str, data: st.DataObject, place: Path) -> None:
    tensors, buffer = {"logit_scale": torch.zeros(()), "ln_final.weight": torch.ones(8)}, io.BytesIO()
    torch.save(tensors, buffer)
    content = buffer.getvalue() if name == "model.pt" else save(tensors)
    (place / name).write_bytes(data.draw(files(content)))
    survives(lambda: read_state_dict(place / name))


@quick
@given(data=st.data())
def test_archives(data: st.DataObject, place: Path, archive: bytes) -> None:
    (place / "archive.pt").write_bytes(data.draw(files(archive)))
    survives(lambda: read_state_dict(place / "archive.pt"))


@settings(quick, max_examples=25)
@given(data=st.data())
def test_model_sizes(data: st.DataObject, setting: Setting) -> None:
    weights = dict(setting.loaded["backbone"].model.state_dict())
    del weights["token_embedding.weight"]
    weights["token_embedding.ids"], weights["token_embedding.rows"] = torch.arange(3), torch.zeros(3, 64)
    for name in data.draw(st.lists(st.sampled_from(sorted(weights)), min_size=1, max_size=2)):
        weights[name] = torch.zeros(data.draw(SHAPES), dtype=data.draw(KINDS))
    save_file(weights, setting.folder.parent / "sizes.safetensors")
    survives(lambda: load_backbone(setting.folder.parent / "sizes.safetensors"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a TorchScript archive."""
    file = tmp_path_factory.mktemp("archive") / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))).save(str(file))
    return file.read_bytes()

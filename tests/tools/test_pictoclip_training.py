import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tools.pictoclip import views
from tools.pictoclip.captions import Mix
from tools.pictoclip.data import TrainingSet
from tools.pictoclip.evaluate import load_model, text_features
from tools.pictoclip.export import export
from tools.pictoclip.model import CLIP, Shape, sincos_positions
from tools.pictoclip.optim import Muon, orthogonalize
from tools.pictoclip.sources import UNSEEN_STYLES
from tools.pictoclip.train import Recipe, Trainer, _HeldOut, _ranks, fast_precision, run, stored_precision
from torch.nn import functional as F

TINY = Shape(image_size=32, image_width=64, image_layers=2, text_width=64, text_layers=2, joint=32)
RECIPE = Recipe(samples=96, batch=16, warmup_samples=32)
HALF = (0.25, 0.25)


def trainer(data: TrainingSet, recipe: Recipe = RECIPE, precision: torch.dtype = torch.float32) -> Trainer:
    return Trainer(data, recipe, precision, TINY)


def test_held_out_concepts_are_out_of_their_whole_family(data: TrainingSet) -> None:
    drawings = data.corpus.drawings
    emoji = {int(i) for kind in ("color", "solid") for i in data.held_out[kind]}
    held = {(drawings[i].family, drawings[i].code) for i in emoji}
    assert emoji == {i for i, d in enumerate(drawings) if (d.family, d.code) in held}
    assert all(drawings[i].emoji and not data._is_flag(i) for i in emoji)
    assert all(drawings[i].color for i in data.held_out["color"].tolist())
    assert not any(drawings[i].color for i in data.held_out["solid"].tolist())
    assert all(len(part) for part in data.held_out.values())


def test_unseen_styles_are_never_drawn(data: TrainingSet) -> None:
    drawings = data.corpus.drawings
    unseen = {i for i, d in enumerate(drawings) if d.style in UNSEEN_STYLES}
    out = {i for part in data.held_out.values() for i in part.tolist()}
    drawn = {int(i) for pool, _ in data._pools for i in pool}
    assert set(data.held_out["line"].tolist()) <= unseen
    assert not drawn & (out | unseen)
    assert drawn | out | unseen == set(range(len(drawings)))


def test_batches_depend_on_their_key_alone(data: TrainingSet) -> None:
    first, again, other = (data.batch(16, HALF, Mix(), key) for key in ((1, 2, 0), (1, 2, 0), (1, 3, 0)))
    assert torch.equal(first.pictures, again.pictures)
    assert first.captions == again.captions
    assert not torch.equal(first.pictures, other.pictures)


def test_batches_hold_the_shares_asked_for(data: TrainingSet) -> None:
    batch = data.batch(16, (0.25, 0.125), Mix(), (1, 0, 0))
    assert int((batch.concepts < 0).sum()) == 2
    assert int((batch.concepts >= 0).sum()) == 14


def test_views_are_of_the_right_shape_and_repeatable(data: TrainingSet) -> None:
    batch = data.batch(16, HALF, Mix(), (1, 0, 0))

    def make(seed: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return views.random_views(batch.pictures, batch.monochrome, 32, 1.0, views.Styles(), rng)

    assert make(1).shape == (16, 3, 32, 32)
    assert make(1).min() >= 0 and make(1).max() <= 1
    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))


def test_styles_are_shares_of_views(data: TrainingSet) -> None:
    batch = data.batch(16, HALF, Mix(), (1, 0, 0))
    color = ~batch.monochrome

    def gray(styles: views.Styles) -> torch.Tensor:
        rng = torch.Generator().manual_seed(1)
        view = views.random_views(batch.pictures, batch.monochrome, 32, 1.0, styles, rng)
        return (view.amax(1) - view.amin(1)).flatten(1).amax(1) < 1e-6

    assert not gray(views.Styles(gray=0, ink=0, lines=0))[color].any()
    for styles in (views.Styles(1, 0, 0), views.Styles(0, 1, 0), views.Styles(0, 0, 1)):
        assert gray(styles)[color].all()


def test_a_plain_view_is_the_drawing_on_white() -> None:
    picture = torch.zeros(1, 36, 36, 4, dtype=torch.uint8)
    picture[:, 9:27, 9:27] = torch.tensor([255, 0, 0, 255], dtype=torch.uint8)
    view = views.plain_view(picture, 32)
    assert view.shape == (1, 3, 32, 32)
    assert view[0, :, 0, 0].tolist() == [1, 1, 1]
    assert view[0, :, 16, 16].tolist() == pytest.approx([1, 0, 0], abs=1e-3)


def test_line_art_is_the_outline() -> None:
    alpha = torch.zeros(1, 1, 20, 20)
    alpha[..., 5:15, 5:15] = 1
    art = views._line_art(torch.zeros(1, 3, 20, 20), alpha, torch.ones(1, 1, 1, 1))[0, 0]
    assert art[10, 5] == 0
    assert art[10, 10] == art[1, 1] == 1


def test_views_get_harder_up_to_full_strength() -> None:
    strengths = [views.strength_at(progress) for progress in (0, 0.05, 0.15, 1)]
    assert strengths == sorted(strengths)
    assert strengths[-1] == 1


@pytest.mark.parametrize("columns", [8, 32])
def test_orthogonalizing_on_gram_matrices_is_the_quintic_iteration(columns: int) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 8, columns)
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalize(matrices), x, atol=1e-4, rtol=1e-4)
    if columns > 8:
        values = torch.linalg.svdvals(orthogonalize(matrices))
        assert values.min() > 0.5 and values.max() < 1.3


def test_muon_treats_query_key_and_value_apart(data: TrainingSet) -> None:
    pool = trainer(data)._pool
    fused, tall = torch.randn(24, 8), torch.randn(32, 8)
    fused.grad, tall.grad = torch.randn(24, 8), torch.randn(32, 8)
    before, gradient = fused.clone(), fused.grad.clone()
    muon = Muon([fused, tall], weight_decay=0.0, pool=pool)
    assert sorted(tuple(m.shape) for m in muon.momentum) == [(1, 8, 32), (3, 8, 8)]
    muon.step(0.1)
    for rows in (slice(0, 8), slice(8, 16), slice(16, 24)):
        expected = -0.1 * orthogonalize(gradient[None, rows])[0]
        torch.testing.assert_close(fused[rows] - before[rows], expected, atol=1e-4, rtol=1e-3)


def test_schedules_follow_the_share_of_the_budget() -> None:
    recipe = Recipe(samples=100_000)
    assert recipe.rate_at(0) < 0.02
    assert recipe.rate_at(recipe.warmup_samples) > 0.95
    assert recipe.rate_at(50_000) == pytest.approx(0.5)
    assert recipe.rate_at(99_999) == 1e-3
    assert [recipe.patches_at(seen) for seen in (0, 90_000, 99_999)] == [0.5, 0.75, 1.0]


def test_looking_at_all_patches_by_name_is_looking_at_all() -> None:
    torch.manual_seed(0)
    model, images = CLIP(TINY, 10), torch.randn(2, 3, 32, 32)
    everything = torch.stack([torch.randperm(16), torch.randperm(16)])
    torch.testing.assert_close(model.encode_image(images, everything), model.encode_image(images))
    assert sincos_positions(4, 64).shape == (16, 64)


def test_gradients_in_shards_are_those_of_the_whole_batch(data: TrainingSet) -> None:
    subject = trainer(data)
    found: dict[str, torch.Tensor] = {}

    def keep_gradients(rate: float) -> None:
        found.update({name: p.grad.clone() for name, p in subject.model.named_parameters() if p.grad is not None})

    subject._update = keep_gradients  # type: ignore[method-assign]
    subject.step()
    subject.seen = 0
    subject.model.zero_grad()
    shards = [subject._encode(i) for i in range(2)]
    image, text = (torch.cat([getattr(shard, side) for shard in shards]) for side in ("image", "text"))
    subject._loss(image, text, [shard.batch for shard in shards])[0].backward()
    for name, parameter in subject.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_interrupted_and_resumed_is_uninterrupted(data: TrainingSet, tmp_path: Path, precision: torch.dtype) -> None:
    whole = trainer(data, precision=precision)
    while not whole.finished:
        whole.step()

    first = trainer(data, precision=precision)
    for _ in range(3):
        first.step()
    first.save(tmp_path / "state.safetensors")
    assert stored_precision(tmp_path / "state.safetensors") == precision
    second = trainer(data, precision=precision)
    second.load(tmp_path / "state.safetensors")
    assert second.seen == 48
    while not second.finished:
        second.step()

    assert whole.seen == second.seen == 96
    expected, resumed = whole.state(), second.state()
    assert expected.keys() == resumed.keys()
    assert {"prototypes.concepts", "muon.0", "adam.0.exp_avg_sq"} <= expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_checkpoint_of_another_recipe_is_refused(data: TrainingSet, tmp_path: Path) -> None:
    trainer(data).save(tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match="a different recipe"):
        trainer(data, Recipe(samples=128, batch=16)).load(tmp_path / "state.safetensors")


def test_a_run_learns_logs_and_exports_for_any_clip_code(data: TrainingSet, tmp_path: Path) -> None:
    subject = trainer(data, Recipe(samples=16 * 40, batch=16, warmup_samples=64))
    asset = tmp_path / "asset.safetensors"
    run(
        subject,
        tmp_path,
        checkpoint_every=200,
        validate_every=400,
        on_checkpoint=lambda now: export(now, asset),
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"color", "solid", "line", "subgroup_rank", "name_rank"} <= rows[-1].keys()
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 12

    digest, name = asset.with_suffix(".sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(asset.read_bytes()).hexdigest(), asset.name)
    assert export(subject, tmp_path / "again.safetensors") == digest
    with safe_open(asset, "pt") as file:
        assert json.loads(file.metadata()["pictoclip"])["samples"] == 640
        assert file.get_tensor("token_embedding.rows").dtype == torch.float16
        assert file.get_tensor("token_embedding.ids").tolist() == subject.vocabulary.ids

    released = load_model(asset)
    with torch.no_grad():
        ours = F.normalize(subject._image_features(data.held_out["color"]), dim=-1)
        pictures = torch.from_numpy(data.corpus.pictures[data.held_out["color"].numpy()])
        theirs = released.encode_image(views.normalize(views.plain_view(pictures, 32)), normalize=True)
        torch.testing.assert_close(theirs, ours, atol=5e-3, rtol=0)
        words = ["thing 1", "fruit"]
        text = text_features(released, words, ["a photo of a {}."])
        torch.testing.assert_close(text, subject._text_features(words), atol=5e-3, rtol=0)
    assert released.logit_scale.item() == pytest.approx(float(subject.weights["logit_scale"].detach()), abs=2e-3)


def test_the_logit_scale_is_the_one_that_held_out_drawings_deserve(
    data: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, rng = trainer(data), torch.Generator().manual_seed(1)
    cosines = torch.rand(20_000, 10, generator=rng) * 2 - 1
    truth = torch.multinomial((7 * cosines).softmax(1), 1, generator=rng)[:, 0]
    monkeypatch.setattr(subject, "_held_out", lambda: [("line", _HeldOut(cosines, cosines, truth, truth))])
    scale = subject.calibrated_logit_scale()
    assert scale == pytest.approx(7, rel=0.03)
    export(subject, tmp_path / "asset.safetensors", scale)
    assert load_model(tmp_path / "asset.safetensors").logit_scale.exp().item() == pytest.approx(scale, rel=2e-3)


def test_a_rank_counts_what_scores_higher() -> None:
    scores = torch.tensor([[0.1, 0.5, 0.3], [0.9, 0.5, 0.3]])
    assert _ranks(scores, torch.tensor([2, 0])).tolist() == [2, 1]


def test_the_precision_is_one_of_two() -> None:
    assert fast_precision() in {torch.float32, torch.bfloat16}

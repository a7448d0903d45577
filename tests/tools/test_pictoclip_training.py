import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tools.pictoclip.captions import CONTEXT_LENGTH, EVALUATION_TEMPLATE, VECTOR
from tools.pictoclip.data import Job, Plan, Planner, TrainingSet
from tools.pictoclip.evaluate import load_model, text_features
from tools.pictoclip.export import export
from tools.pictoclip.graphs import Batch
from tools.pictoclip.model import CLIP, Shape, sincos_positions
from tools.pictoclip.optim import Muon, orthogonalize
from tools.pictoclip.render import Atlas, normalize
from tools.pictoclip.scenes import MAIN
from tools.pictoclip.sources import UNSEEN_STYLES
from tools.pictoclip.train import Recipe, Trainer, _also_true, fast_precision, run, stored_precision
from tools.pictoclip.validate import World, contexts, fitted_logit_scale, validate, worlds

TINY = Shape(image_size=32, image_width=64, image_layers=2, text_width=64, text_layers=2, joint=32)
RECIPE = Recipe(samples=96, batch=16, warmup_steps=2)
HALF = (0.25, 0.25)
CPU = torch.device("cpu")


def trainer(data: TrainingSet, recipe: Recipe = RECIPE, precision: torch.dtype = torch.float32) -> Trainer:
    return Trainer(data, recipe, precision, TINY, Atlas(data.corpus.pictures, CPU), Planner(data, workers=0))


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


def test_plans_depend_on_their_job_alone(data: TrainingSet) -> None:
    job = Job((1, 2), 16, HALF)
    first, again, other = data.plan(job), data.plan(job), data.plan(replace(job, key=(1, 3)))
    assert np.array_equal(first.scenes.poses, again.scenes.poses)
    assert np.array_equal(first.tokens, again.tokens)
    assert not np.array_equal(first.scenes.poses, other.scenes.poses)


def test_plans_hold_the_shares_asked_for(data: TrainingSet) -> None:
    main = data.plan(Job((1, 0), 16, (0.25, 0.125))).scenes.drawings[:, MAIN]
    assert int((data.concepts[main] < 0).sum()) == 2


def test_plans_draw_training_drawings_alone(data: TrainingSet) -> None:
    plan = data.plan(Job((1, 0), 300, HALF))
    out = {i for part in data.held_out.values() for i in part.tolist()}
    out |= {i for i, d in enumerate(data.corpus.drawings) if d.style in UNSEEN_STYLES}
    assert not out & set(plan.scenes.drawings.flatten().tolist())


def test_plans_made_ahead_are_those_made_on_demand(data: TrainingSet) -> None:
    ahead, recipe = Planner(data, workers=1), replace(RECIPE, icons=HALF)
    for step in (0, 1, 2, 7):
        made, direct = ahead.plan(step, recipe.job), data.plan(recipe.job(step))
        assert np.array_equal(made.tokens, direct.tokens)
        assert np.array_equal(made.scenes.poses, direct.scenes.poses)


def test_some_plans_have_long_contexts(data: TrainingSet) -> None:
    recipe = replace(RECIPE, batch=64, icons=HALF)
    assert data.plan(recipe.job(8)).tokens.shape[1] > 50
    assert data.plan(recipe.job(9)).tokens.shape[1] <= 44


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


def test_muon_treats_query_key_and_value_apart() -> None:
    fused, tall = torch.randn(24, 8), torch.randn(32, 8)
    fused.grad, tall.grad = torch.randn(24, 8), torch.randn(32, 8)
    before, gradient = fused.clone(), fused.grad.clone()
    muon = Muon([fused, tall], weight_decay=0.0, threads=None)
    assert sorted(tuple(m.shape) for m in muon.momentum) == [(1, 8, 32), (3, 8, 8)]
    muon.step(torch.tensor(0.1))
    for rows in (slice(0, 8), slice(8, 16), slice(16, 24)):
        expected = -0.1 * orthogonalize(gradient[None, rows])[0]
        torch.testing.assert_close(fused[rows] - before[rows], expected, atol=1e-4, rtol=1e-3)


def test_small_stacks_of_threads_are_one_large_stack() -> None:
    gradients = torch.randn(8, 16, 4)
    weights = [[torch.ones(16, 4) for _ in range(8)] for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        optimizers = [Muon(some, 0.1, each) for some, each in zip(weights, (threads, None), strict=True)]
        assert [len(muon.momentum) for muon in optimizers] == [2, 1]
        for some, muon in zip(weights, optimizers, strict=True):
            for weight, gradient in zip(some, gradients, strict=True):
                weight.grad = gradient.clone()
            muon.step(torch.tensor(0.1))
    torch.testing.assert_close(*weights)


def test_schedules_follow_the_share_of_the_budget() -> None:
    recipe = Recipe(samples=1_000_000)
    assert recipe.rate_at(0) < 0.02
    assert recipe.rate_at(recipe.warmup_steps * recipe.batch) > 0.95
    assert recipe.rate_at(500_000) == pytest.approx(0.5)
    assert recipe.rate_at(999_999) == 1e-3
    assert [recipe.patches_at(seen) for seen in (0, 500_000, 999_999)] == [0.5, 0.5, 1.0]
    assert [recipe.job(step).strength for step in (0, 2000)] == [0.25, 1.0]


def test_looking_at_all_patches_by_name_is_looking_at_all() -> None:
    torch.manual_seed(0)
    model, images = CLIP(TINY, 10), torch.randn(2, 3, 32, 32)
    everything = torch.stack([torch.randperm(16), torch.randperm(16)])
    torch.testing.assert_close(model.encode_image(images, everything), model.encode_image(images))
    assert sincos_positions(4, 64).shape == (16, 64)


def drawn(subject: Trainer, padded: int = 0) -> Batch:
    plan = subject.data.plan(subject.recipe.job(0))
    parts = [subject._drawn(plan.padded(padded) if padded else plan, i) for i in range(2)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_gradients_in_shards_are_those_of_the_whole_batch(data: TrainingSet) -> None:
    subject = trainer(data)
    found: dict[str, torch.Tensor] = {}

    def keep_gradients() -> None:
        found.update({name: p.grad.clone() for name, p in subject.model.named_parameters() if p.grad is not None})

    subject._update = keep_gradients  # type: ignore[method-assign]
    subject.step()
    subject.seen = 0
    subject.model.zero_grad()
    batch = drawn(subject)
    whole = subject._encode(batch)
    subject._loss(whole.image, whole.text, batch)[0].backward()
    for name, parameter in subject.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_padding_of_texts_changes_nothing(data: TrainingSet) -> None:
    cut, padded = trainer(data), trainer(data)
    short, long = drawn(cut), drawn(padded, CONTEXT_LENGTH)
    assert short["tokens"].shape[1] < long["tokens"].shape[1] == CONTEXT_LENGTH
    long["vectors"][:, : short["tokens"].shape[1]] = short["vectors"]
    for subject, batch in ((cut, short), (padded, long)):
        subject._rate.fill_(1.0)
        subject._train(batch)
    for name, weight in cut.weights.items():
        torch.testing.assert_close(padded.weights[name], weight, atol=1e-4, rtol=1e-4)


def test_training_on_a_batch_never_waits_for_the_device(data: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without values stand for those of a GPU: reading one, or mixing it with one of the host, raises."""
    monkeypatch.setattr(
        "torch.optim.AdamW", lambda groups, **_: SimpleNamespace(param_groups=groups, step=int, zero_grad=int)
    )
    atlas, batch = SimpleNamespace(device=torch.device("meta")), drawn(trainer(data))
    subject = Trainer(data, RECIPE, torch.bfloat16, TINY, atlas, Planner(data, workers=0))  # type: ignore[arg-type]
    on_device = {
        name: rows.to("meta", torch.bfloat16 if rows.is_floating_point() else None) for name, rows in batch.items()
    }
    terms = subject._train(on_device)
    assert {value.device.type for value in terms.values()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_replayed_steps_are_those_that_the_host_launches(data: TrainingSet) -> None:
    recipe = replace(RECIPE, samples=16 * 20, patch_stages=((0.5, 0.5), (1.0, 1.0)))

    class Padded(Planner):  # the number of tokens decides which random vectors are drawn
        def plan(self, step: int, job_of: Callable[[int], Job]) -> Plan:
            return super().plan(step, job_of).padded(job_of(step).length)

    atlas, planner = Atlas(data.corpus.pictures, torch.device("cuda")), Padded(data, workers=0)
    eager, replayed = (
        Trainer(data, recipe, torch.bfloat16, TINY, atlas, planner, replay=replay) for replay in (False, True)
    )
    start = {name: weight.clone() for name, weight in eager.weights.items()}
    while not eager.finished:
        expected, found = eager.step(), replayed.step()
        torch.testing.assert_close(found["loss"], expected["loss"], atol=0.1, rtol=0.02)
    moves = [torch.cat([(t.weights[n] - w).flatten() for n, w in start.items()]) for t in (eager, replayed)]
    assert torch.cosine_similarity(*moves, dim=0) > 0.9


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
    subject = trainer(data, Recipe(samples=16 * 40, batch=16, warmup_steps=4))
    asset, found = tmp_path / "asset.safetensors", worlds(data, subject.atlas, 32)
    run(
        subject,
        tmp_path,
        found,
        checkpoint_every=200,
        validate_every=400,
        on_checkpoint=lambda now: export(now, asset),
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"template", "words", "vectors", "words_kept", "vectors_kept", "probe", "worlds"} <= rows[-1].keys()
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 12

    digest, name = asset.with_suffix(".sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(asset.read_bytes()).hexdigest(), asset.name)
    assert export(subject, tmp_path / "again.safetensors") == digest
    with safe_open(asset, "pt") as file:
        facts = json.loads(file.metadata()["pictoclip"])
        assert facts["samples"] == 640 and facts["recipe"]["batch"] == 16 and facts["precision"] == "float32"
        assert file.get_tensor("token_embedding.rows").dtype == torch.float16
        assert file.get_tensor("token_embedding.ids").tolist() == data.vocabulary.ids

    released = load_model(asset)
    with torch.no_grad():
        ours = subject._image_features(found[0].images)
        theirs = released.encode_image(normalize(found[0].images), normalize=True)
        torch.testing.assert_close(theirs, ours, atol=5e-3, rtol=0)
        words = ["thing 1", "fruit"]
        text = text_features(released, words, [EVALUATION_TEMPLATE])
        told = subject._text_features([EVALUATION_TEMPLATE.format(word) for word in words])
        torch.testing.assert_close(text, told, atol=5e-3, rtol=0)
    assert released.logit_scale.item() == pytest.approx(float(subject.weights["logit_scale"].detach()), abs=2e-3)


def test_the_logit_scale_is_the_one_that_worlds_deserve(data: TrainingSet, tmp_path: Path) -> None:
    subject, rng = trainer(data), torch.Generator().manual_seed(1)
    cosines = torch.rand(20_000, 10, generator=rng) * 2 - 1
    truth = torch.multinomial((7 * cosines).softmax(1), 1, generator=rng)[:, 0]
    world = World("all", ["thing"] * 10, cosines, truth, cosines[:0], truth[:0])
    scale = fitted_logit_scale([world], lambda images: images, lambda names, spread: torch.eye(10))
    assert scale == pytest.approx(7, rel=0.03)
    export(subject, tmp_path / "asset.safetensors", scale)
    assert load_model(tmp_path / "asset.safetensors").logit_scale.exp().item() == pytest.approx(scale, rel=2e-3)


def test_worlds_show_held_out_drawings_of_single_concepts(data: TrainingSet) -> None:
    found = worlds(data, trainer(data).atlas, 32)
    assert "line" in {world.name for world in found}
    for world in found:
        assert len(world.classes) == len(set(world.classes)) > 1
        assert world.labels.bincount().tolist() == [12] * len(world.classes)
        assert world.probe_labels.bincount().tolist() == [16] * len(world.classes)
        assert world.images.shape[1:] == (3, 32, 32)
        assert not torch.equal(world.images[0], world.images[1]), "scenes of one class differ"


def test_validation_tells_contexts_apart(data: TrainingSet) -> None:
    labels = torch.arange(4).repeat(20)
    world = World("all", [f"thing {i}" for i in range(4)], torch.eye(4)[labels], labels, torch.eye(4)[labels], labels)

    def text(texts: Sequence[str], spread: float) -> torch.Tensor:
        features = torch.eye(4)
        if texts[0].startswith("a photo"):
            return features
        return features[[1, 0, 2, 3]] if spread else features[[1, 2, 3, 0]]

    scores = validate(data, [world], lambda images: images, text, probe=True)
    assert [scores[key] for key in ("template", "words", "vectors", "probe")] == [1, 0, 0.5, 1]
    assert [scores[key] for key in ("times_chance", "words_kept", "vectors_kept")] == [4, 0, 0.5]
    told = contexts(data.speaker.words)
    assert all(len(template.split()) == 5 for template, _ in told["words"])
    assert all(template.count(VECTOR) == 16 for template, _ in told["vectors"])


def test_matching_pairs_are_no_negatives() -> None:
    kinds = torch.tensor([[-1, 2, 1, -1], [-1, -1, 2, -1], [-1, -1, 3, -1], [-1, -1, 3, -1]])
    subgroups = torch.tensor([[-1, 7, 6, -1], [-1, -1, 7, -1], [-1, -1, 8, -1], [-1, -1, 8, -1]])
    general = torch.tensor([False, False, False, False])
    pairs = _also_true(kinds, subgroups, general).nonzero().tolist()
    assert pairs == [[0, 1], [2, 3], [3, 2]], "image 0 shows the thing of caption 1 too"
    general[1] = True
    assert _also_true(kinds, subgroups, general)[:, 1].tolist() == [True, False, False, False]


def test_random_vectors_are_read_instead_of_embeddings() -> None:
    torch.manual_seed(0)
    model = CLIP(TINY, 10)
    tokens, ends = torch.tensor([[0, -1, 3, 9]]), torch.tensor([3])
    known = model.token_embedding.weight[5].expand(1, 4, -1)
    same = model.encode_text(tokens.clamp(min=0) + torch.tensor([[0, 5, 0, 0]]), ends)
    torch.testing.assert_close(model.encode_text(tokens, ends, known), same)
    assert not torch.allclose(model.encode_text(tokens, ends, 3 * known), same)


def test_what_follows_the_end_of_a_text_is_not_read() -> None:
    torch.manual_seed(0)
    model, ends = CLIP(TINY, 10), torch.tensor([2, 2])
    first, second = model.encode_text(torch.tensor([[0, 4, 9, 1, 2], [0, 4, 9, 7, 7]]), ends)
    torch.testing.assert_close(first, second)


def test_the_precision_is_one_of_two() -> None:
    assert fast_precision(CPU) in {torch.float32, torch.bfloat16}

"""Print an inspection on the terminal."""

from collections.abc import Iterator, Sequence

from vlprompt.analysis.attention import Attention
from vlprompt.analysis.confusions import Pair
from vlprompt.analysis.inspection import Inspection
from vlprompt.analysis.nearest_tokens import Context
from vlprompt.analysis.norms import LayerNorms, Spread
from vlprompt.analysis.tuned_features import Change
from vlprompt.utils.clean_output import as_line
from vlprompt.utils.terminal import CleanConsole, print_table

Part = tuple[str, Sequence[str], list[Sequence[str]]]  # title, columns, rows

SHOWN = 3  # maximum number of contexts printed; the JSON has all
QUANTITIES = {
    "class_distance": "distance of class to class",
    "nearest_class_distance": "distance of class to nearest class",
    "inter_dispersion": "inter-dispersion, mean exp(-2 d²)",
    "prototype_distance": "distance of image to prototype",
    "intra_dispersion": "intra-dispersion, mean squared difference",
    "own_mean_distance": "distance of image to class mean",
    "modality_gap": "modality gap",
}
NONE = "–"


def print_inspection(found: Inspection) -> None:
    """Print a table for each part of an inspection, and a line for each part that is left out."""
    console = CleanConsole()
    for line in _head(found):
        console.print(as_line(line), soft_wrap=True)
    for title, columns, rows in _tables(found):
        print_table(rows, columns, title=title, console=console)
    for line in _foot(found):
        console.print(as_line(line), style="dim", soft_wrap=not console.is_terminal)


def _head(found: Inspection) -> Iterator[str]:
    record = found.record
    yield f"{found.run}: {record.config.method.name}, {len(found.classes.names)} classes"
    yield f"  backbone {record.backbone.name}; {record.trainable_parameters:,} parameters"
    if found.accuracy is not None:
        before, after = f"{found.accuracy.before:.1f}%", f"{found.accuracy.after:.1f}%"
        yield f"  {found.looked_at}; accuracy {before} with the frozen model, {after} with the tuned one"


def _tables(found: Inspection) -> Iterator[Part]:
    for context in found.contexts[:SHOWN]:
        yield _words(context)
    if found.norms:
        titles = ["layer", *(f"{tower}: {what}" for tower in found.norms for what in ("prompts", "tokens"))]
        yield "norms", titles, list(_norm_rows(list(found.norms.values())))
    for tower, attention in found.attention.items():
        title = f"{tower} tower: attention of the {attention.reader}, %"
        yield title, ["layer", *attention.shares, "most on"], list(_attention_rows(attention))
    if found.dispersion:
        changes = [(QUANTITIES[name], *_change(change)) for name, change in found.dispersion.items()]
        yield "features", ["quantity", "before", "after", "change"], [*changes]
    if found.pairs:
        titles = ["confused classes", "before", "after", "distance before", "after"]
        yield "most confused classes", titles, list(map(_pair_row, found.pairs))


def _foot(found: Inspection) -> Iterator[str]:
    more = len(found.contexts) - SHOWN
    if more > 0:
        yield f"{more} more context{'s' * (more > 1)} in --json"
    if found.vocabulary is not None:
        norm, near = _spread(found.vocabulary.norms), _spread(found.vocabulary.nearest)
        yield f"for scale: {found.vocabulary.tokens:,} tokens have norm {norm}, nearest token at {near}"
    if len(found.norms.get("text", [])) > 1:
        yield "deep prompts replace hidden states, not words: their norms are compared with hidden states"
    for tower, attention in found.attention.items():
        yield f"uniform attention would give {tower} prompts {attention.even:.1%}"
    for part, reason in found.left_out.items():
        yield f"left out: {part}: {reason}"


def _words(context: Context) -> Part:
    rows: list[Sequence[str]] = [
        (str(place), ", ".join(f"{near.word} {near.distance:.3f}" for near in vector.nearest), f"{vector.norm:.3f}")
        for place, vector in enumerate(context.vectors, 1)
    ]
    return f"words nearest to the context of {context.of}", ["vector", "word and distance", "norm"], rows


def _norm_rows(towers: Sequence[Sequence[LayerNorms]]) -> Iterator[Sequence[str]]:
    for layer in range(max(map(len, towers))):
        cells = [cell for layers in towers for cell in (_norms(layers[layer]) if layer < len(layers) else ("", ""))]
        yield str(layer + 1), *cells


def _norms(layer: LayerNorms) -> tuple[str, str]:
    """Return the prompts' mean norm with its range, and the tokens' median norm with its 5% to 95% range."""
    own = layer.prompts
    prompts = f"{sum(own) / len(own):.2f} ({min(own):.2f} to {max(own):.2f})" if own else NONE
    return prompts, NONE if layer.tokens is None else _spread(layer.tokens)


def _attention_rows(attention: Attention) -> Iterator[Sequence[str]]:
    for layer, to_prompts in enumerate(attention.to_prompts):
        shares = [f"{100 * share[layer]:.1f}" for share in attention.shares.values()]
        most = max(to_prompts)
        yield str(layer + 1), *shares, f"prompt {to_prompts.index(most) + 1} ({100 * most:.1f})"


def _pair_row(pair: Pair) -> Sequence[str]:
    earlier = NONE if pair.before is None else str(pair.before)
    return f"{pair.first} / {pair.second}", earlier, str(pair.count), *_change(pair.text_distance)[:2]


def _change(change: Change) -> tuple[str, str, str]:
    if change.after is None:
        return f"{change.before:.4f}", NONE, NONE
    return f"{change.before:.4f}", f"{change.after:.4f}", f"{round(change.after - change.before, 4) + 0.0:+.4f}"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"

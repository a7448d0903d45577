"""An inspection as it is printed on a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from vlprompt.analysis.attention import Attention
from vlprompt.analysis.confusions import Pair
from vlprompt.analysis.inspection import Inspection
from vlprompt.analysis.nearest_tokens import Context
from vlprompt.analysis.norms import LayerNorms
from vlprompt.analysis.summaries import Change, Spread

SHOWN = 3  # contexts of classes; all of them are in the JSON
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
    """A table for each part that there is, and a line for each that is not."""
    wide = None if Console().is_terminal else 200
    console = Console(width=wide, markup=False, emoji=False, highlight=False)
    for line in _head(found):
        console.print(line, soft_wrap=True)
    for table in _tables(found):
        console.print(table)
    for line in _foot(found):
        console.print(line, style="dim", soft_wrap=wide is not None)


def _head(found: Inspection) -> Iterator[str]:
    record = found.record
    yield f"{found.run}: {record.config.method.name}, {len(found.classes.names)} classes"
    yield f"  backbone {record.backbone.name}; {record.trainable_parameters:,} parameters"
    if found.accuracy is not None:
        before, after = f"{found.accuracy.before:.1f}%", f"{found.accuracy.after:.1f}%"
        yield f"  {found.looked_at}; right with the frozen model {before}, with the tuned one {after}"


def _tables(found: Inspection) -> Iterator[Table]:
    for context in found.contexts[:SHOWN]:
        yield _words(context)
    if found.norms:
        titles = ["layer", *(f"{tower}: {what}" for tower in found.norms for what in ("prompts", "tokens there"))]
        yield _table("norms", titles, _norm_rows(list(found.norms.values())))
    for tower, attention in found.attention.items():
        title = f"{tower} tower: attention of the {attention.reader}, %"
        yield _table(title, ["layer", *attention.shares, "most on"], _attention_rows(attention))
    if found.dispersion:
        rows = [(QUANTITIES[name], *_change(change)) for name, change in found.dispersion.items()]
        yield _table("features", ["quantity", "before", "after", "change"], rows)
    if found.pairs:
        titles = ["taken for each other", "before", "after", "distance before", "after"]
        yield _table("most confused classes", titles, map(_pair_row, found.pairs))


def _foot(found: Inspection) -> Iterator[str]:
    more = len(found.contexts) - SHOWN
    if more > 0:
        yield f"{more} more context{'s are' if more > 1 else ' is'} in --json"
    if found.vocabulary is not None:
        norm, near = _spread(found.vocabulary.norms), _spread(found.vocabulary.nearest)
        yield f"for scale: {found.vocabulary.tokens:,} tokens have norm {norm} and their nearest other token at {near}"
    if len(found.norms.get("text", [])) > 1:
        yield "prompts of deeper layers replace hidden states, not words: norms compare with those, no word is near"
    for tower, attention in found.attention.items():
        yield f"{tower} prompts would get {attention.even:.1%} if every token got the same"
    for part, reason in found.left_out.items():
        yield f"left out: {part}: {reason}"


def _words(context: Context) -> Table:
    rows = [
        (str(place), ", ".join(f"{near.word} {near.distance:.3f}" for near in vector.nearest), f"{vector.norm:.3f}")
        for place, vector in enumerate(context.vectors, 1)
    ]
    return _table(
        f"words nearest to the context of {context.of}", ["vector", "word and distance", "norm"], rows, words=2
    )


def _norm_rows(towers: Sequence[Sequence[LayerNorms]]) -> Iterator[Sequence[str]]:
    for layer in range(max(map(len, towers))):
        cells = [cell for layers in towers for cell in (_norms(layers[layer]) if layer < len(layers) else ("", ""))]
        yield str(layer + 1), *cells


def _norms(layer: LayerNorms) -> tuple[str, str]:
    """Mean norm of the prompts with the least and the largest, and median norm of the tokens with 5% and 95%."""
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


def _table(title: str, titles: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Table:
    """A table whose first columns are words, the others numbers."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(titles):
        table.add_column(name, justify="left" if place < words else "right")
    for row in rows:
        table.add_row(*row)
    return table

"""Build the map of the backbone `photos` from names alone (`python -m tools.photos`); see README.md."""

import argparse
import hashlib
import math
from pathlib import Path

import torch
from safetensors.torch import save
from tools.photos.encode import Encoder
from tools.photos.fit import TEMPERATURE, fit_map, fit_reader, read_rate
from tools.photos.names import known_names
from tools.photos.parts import load_parts
from tools.photos.wordnet import read_wordnet
from torch import Tensor

from vlprompt.backbones.sources.photos import SCALE, SENTENCES, TRUNK

ASSET = Path(__file__).parents[2] / "src/vlprompt/assets/photos.safetensors"
VERSION = 1
SENTENCE_COUNT = 12_000
HELD_OUT = 10  # every tenth synset's names are read in no sentence of the training
# Of the logits. Names cannot tell it: negative log-likelihood was lowest near 25 on validation images, see README.md.
LOGIT_SCALE = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.photos", description=__doc__)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of WordNet 3.0's database files")
    parser.add_argument("--seed", type=int, default=1, help="seed of all randomness (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ASSET, help="file to write (default: the asset in the package)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    parts, wordnet = load_parts(), read_wordnet(options.wordnet)
    known = known_names(wordnet)
    centers, mixture = fit_map(parts.encoder.names(known.texts), known, parts.rows)
    # The reader learns to find any noun, not only known names.
    nouns = [name.lower() for synset in sorted(wordnet.names) for name in wordnet.names[synset][:1]]
    reader = train_reader(parts.encoder, [*known.texts, *nouns[:: len(nouns) // len(known.texts)]], options.seed)
    tensors = {f"reader.{name}": value.half() for name, value in reader.items()}
    large = {"centers": centers, "mixture": mixture, "reader.value.weight": reader["value.weight"]}
    for name, matrix in large.items():
        tensors[name], tensors[name + SCALE] = in_bytes(matrix)
    tensors |= {"temperature": torch.tensor(TEMPERATURE), "logit_scale": torch.tensor(math.log(LOGIT_SCALE))}
    write(options.out, tensors, {"seed": str(options.seed)})


def train_reader(encoder: Encoder, names: list[str], seed: int) -> dict[str, Tensor]:
    """Return the weights of a reader, and print how well it reads names that it was not trained on."""
    held = names[::HELD_OUT]
    kept = [name for name in dict.fromkeys(names) if name not in set(held)]
    reader = fit_reader(encoder.sentences(kept, SENTENCE_COUNT, seed), encoder.names(kept), seed)
    rate = read_rate(reader, encoder.sentences(held, SENTENCE_COUNT // 10, seed + 1), encoder.names(held))
    print(f"{rate:.1f}% of held-out names read in sentences")
    return reader.state_dict()


def in_bytes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix (K, N) in 8 bits, and the scale (K, 1) of its rows."""
    scale = (matrix.abs().amax(1, keepdim=True) / 127).half()
    return (matrix / scale.float()).round().clamp(-127, 127).to(torch.int8), scale


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write the asset and its checksum."""
    metadata |= {
        "recipe": str(VERSION),
        "license": "Apache-2.0",
        "sources": f"WordNet 3.0 (WordNet license); ImageNet class names of open_clip (MIT) and timm (Apache-2.0); "
        f"{SENTENCES.distribution} 0.1.0 (Apache-2.0 weights); {TRUNK.weights.distribution} 0.1.0 (Apache-2.0)",
    }
    content = save({name: value.contiguous() for name, value in tensors.items()}, metadata)
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    print(f"{path}: {len(content) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

"""The model in OpenAI CLIP's layout and names, in a form that trains fast.

Two things differ from the released layout, and `export.py` undoes both: QuickGELU is folded into the weights
(x * sigmoid(1.702 x) is SiLU with the first layer scaled by 1.702 and the second by its inverse), and the token
embedding has rows for used tokens only.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

QUICK_GELU = 1.702
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of both towers; the defaults are pictoclip's. Heads are 64 wide, as in every OpenAI CLIP."""

    image_size: int = 64
    patch: int = 8
    image_width: int = 192
    image_layers: int = 6
    text_width: int = 128
    text_layers: int = 4
    context_length: int = 77
    joint: int = 128

    @property
    def grid(self) -> int:
        return self.image_size // self.patch


class Attention(nn.Module):
    """Self-attention under `nn.MultiheadAttention`'s parameter names."""

    def __init__(self, width: int, out_std: float) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.out_proj.weight, std=out_std)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, causal: bool, at: Tensor | None = None) -> Tensor:
        """Map x (B, L, D) to (B, L, D), or to (B, 1, D) for the query at position `at` (B,) alone."""
        batch, length, width = x.shape
        weight, bias, mask = self.in_proj_weight, self.in_proj_bias, None
        if at is None:
            qkv = F.linear(x, weight, bias)
            q, k, v = qkv.view(batch, length, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        else:
            q = F.linear(_at(x, at), weight[:width], bias[:width])
            q = q.view(batch, self.heads, 1, HEAD_WIDTH)
            kv = F.linear(x, weight[width:], bias[width:])
            k, v = kv.view(batch, length, 2, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
            if causal:
                mask = (torch.arange(length, device=x.device) <= at[:, None])[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal and at is None)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, -1, width))
        return out


class Mlp(nn.Module):
    """MLP with QuickGELU folded into its weights, otherwise initialized as OpenAI's."""

    def __init__(self, width: int, out_std: float) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.normal_(self.c_fc.weight, std=(2 * width) ** -0.5 * QUICK_GELU)
        nn.init.normal_(self.c_proj.weight, std=out_std / QUICK_GELU)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.silu(self.c_fc(x)))
        return out


class Block(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        out_std = width**-0.5 * (2 * layers) ** -0.5
        self.attn = Attention(width, out_std)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = Mlp(width, out_std)

    def forward(self, x: Tensor, causal: bool, at: Tensor | None = None) -> Tensor:
        mixed = self.attn(self.ln_1(x), causal, at)
        x = mixed + (x if at is None else _at(x, at))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, layers) for _ in range(layers))

    def forward(self, x: Tensor, at: Tensor, causal: bool = False) -> Tensor:
        """Map x (B, L, D) to the feature (B, D) at position `at` (B,); the last block computes only that."""
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, causal)
        pooled: Tensor = last(x, causal, at)
        return pooled[:, 0]


class ImageTower(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.patch, self.grid = shape.patch, shape.grid
        width = shape.image_width
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        positions = torch.cat([torch.randn(1, width) * width**-0.5, sincos_positions(shape.grid, width)])
        self.positional_embedding = nn.Parameter(positions)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, shape.image_layers)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, shape.joint) * width**-0.5)
        for module in self.transformer.modules():
            if isinstance(module, Attention):
                identity_like_(module)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Map images (B, 3, S, S) to features (B, joint), of the patches `kept` (B, n) alone if given."""
        batch, grid, patch = len(images), self.grid, self.patch
        x = images.view(batch, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(batch, grid * grid, 3 * patch * patch)
        positions = self.positional_embedding[1:]
        if kept is not None:
            x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[-1]))
            positions = positions[kept]
        x = F.linear(x, self.conv1.weight.flatten(1)) + positions
        first = (self.class_embedding + self.positional_embedding[0]).expand(batch, 1, -1)
        class_token = torch.zeros(batch, dtype=torch.long, device=x.device)
        pooled = self.transformer(self.ln_pre(torch.cat([first, x], 1)), class_token)
        features: Tensor = self.ln_post(pooled) @ self.proj
        return features


class CLIP(nn.Module):
    """Both towers, with `tokens_used` rows of token embeddings instead of 49,408."""

    def __init__(self, shape: Shape, tokens_used: int) -> None:
        super().__init__()
        width = shape.text_width
        self.visual = ImageTower(shape)
        self.token_embedding = nn.Embedding(tokens_used, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(shape.context_length, width) * 0.01)
        self.transformer = Transformer(width, shape.text_layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, shape.joint) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        features: Tensor = self.visual(images, kept)
        return features

    def encode_text(self, tokens: Tensor, ends: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Map tokens (B, L) with end tokens at `ends` (B,) to features (B, joint).

        Negative tokens are read as their `vectors` (B, L, D) instead of embeddings.
        """
        x = self.token_embedding(tokens.clamp(min=0))
        if vectors is not None:
            x = torch.where(tokens[..., None] < 0, vectors, x)
        x = x + self.positional_embedding[: tokens.shape[1]]
        features: Tensor = self.ln_final(self.transformer(x, ends, causal=True)) @ self.text_projection
        return features


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """Return the tokens (B, 1, D) of x (B, L, D) at `positions` (B,)."""
    return x.gather(1, positions[:, None, None].expand(-1, 1, x.shape[2]))


def sincos_positions(grid: int, width: int) -> Tensor:
    """Return two-dimensional sine-cosine positions (grid * grid, width) that initialize learned ones."""
    frequencies = math.pi / 3 / 10000 ** (torch.arange(width // 4) / (width / 4))
    steps = torch.arange(grid).float()
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    y, x = y.reshape(-1, 1) * frequencies, x.reshape(-1, 1) * frequencies
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], 1)


@torch.no_grad()
def identity_like_(attention: Attention) -> None:
    """Apply mimetic initialization (arXiv 2305.09828): query-key near 0.7 I, value-output near -0.4 I."""
    width = attention.out_proj.in_features

    def factors(noise: float, identity: float) -> tuple[Tensor, Tensor]:
        target = noise * torch.randn(width, width) * width**-0.5 + identity * torch.eye(width)
        u, s, vh = torch.linalg.svd(target)
        return u * s.sqrt(), vh.T * s.sqrt()

    pairs = [factors(0.7, 0.7) for _ in range(attention.heads)]
    queries = [q[:, :HEAD_WIDTH].T for q, _ in pairs]
    keys = [k[:, :HEAD_WIDTH].T for _, k in pairs]
    value, out = factors(0.4, -0.4)
    attention.in_proj_weight.copy_(torch.cat([*queries, *keys, value.T]))
    attention.out_proj.weight.copy_(out)

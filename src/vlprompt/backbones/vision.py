"""The image towers: CLIP's vision transformer and timm's, which take prompt tokens, and those that cannot."""

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer as ClipViT
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from vlprompt.backbones.block import Block
from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates, VisualPrompts


class VisionTower:
    """A frozen image encoder without a place for prompt tokens (ModifiedResNet, convolutional timm trunks).

    Attributes:
        width: d_v, the width of its tokens; None where it has none.
        depth: number of transformer layers; 0 where it has none.
        patch_size: side of a patch in pixels; None where it has none.
        takes_updates: whether it has a place for low-rank updates.
    """

    width: int | None = None
    depth: int = 0
    patch_size: int | None = None
    takes_updates = False

    def __init__(self, model: nn.Module) -> None:
        self._tower: Any = model.visual

    def __call__(
        self, images: Tensor, prompts: VisualPrompts | None = None, updates: LowRankUpdates | None = None
    ) -> Tensor:
        """Image features, fp32, not normalized.

        Args:
            images: tensor with shape (B, 3, image_size, image_size), normalized as the backbone's transforms do.
            prompts: prompt tokens, or None for the frozen tower.
            updates: additions to the projections of its attention, or None for the frozen ones.

        Returns:
            tensor with shape (B, D).
        """
        images = images.to(next(self._tower.parameters()).dtype)
        if updates is not None:
            return self._updated(images, prompts, updates).float()
        if prompts is None:
            return self._plain(images).float()
        return self._prompted(images, prompts).float()

    @property
    def kind(self) -> str:
        """What the tower is, for messages."""
        trunk = getattr(self._tower, "trunk", self._tower)
        return type(trunk).__name__

    def _plain(self, images: Tensor) -> Tensor:
        features: Tensor = self._tower(images)
        return features

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        raise VLPromptError(f"the image tower ({self.kind}) has no place for visual prompts")

    def _updated(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates) -> Tensor:
        raise VLPromptError(f"the image tower ({self.kind}) has no place for low-rank updates")


def insert(tokens: Tensor, context: Tensor, start: int) -> Tensor:
    """Tokens (B, L, d_v) with prompts (n, d_v) in front of position `start`: (B, L + n, d_v)."""
    # Not len(tokens), which would be a constant in an exported graph.
    context = context.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
    return torch.cat([tokens[:, :start], context, tokens[:, start:]], dim=1)


def replace(tokens: Tensor, context: Tensor, start: int) -> Tensor:
    """Tokens (B, L, d_v) with prompts (n, d_v) in place of the n tokens from position `start` on."""
    kept = torch.cat([tokens[:, :start], tokens[:, start + len(context) :]], dim=1)
    return insert(kept, context, start)


class ViTTower(VisionTower):
    """CLIP's vision transformer. Its last block computes queries and MLP only at the tokens that are pooled."""

    takes_updates = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        tower = self._tower
        if tower.attn_pool is not None:
            raise VLPromptError("image towers with attentional pooling (CoCa) are not supported")
        self._blocks = [Block(block, layer) for layer, block in enumerate(tower.transformer.resblocks)]
        self.width = tower.conv1.out_channels
        self.depth = len(self._blocks)
        self.patch_size = tower.conv1.kernel_size[0]

    def _plain(self, images: Tensor) -> Tensor:
        return self._run(images, None)

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        return self._run(images, prompts)

    def _updated(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates) -> Tensor:
        assert self.width is not None
        updates.check(self.depth, self.width)
        return self._run(images, prompts, updates)

    def _run(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates | None = None) -> Tensor:
        tower = self._tower
        patches = tower.conv1(images).flatten(2).transpose(1, 2)  # (B, patches, d_v)
        x = insert(patches, tower.class_embedding[None], 0) + tower.positional_embedding
        tokens = x.shape[1]
        start = tokens if prompts is None or prompts.position == "append" else 1
        if prompts is None:
            x = tower.ln_pre(x)
        elif prompts.before_ln_pre:
            x = tower.ln_pre(insert(x, prompts.context, start))
        else:
            x = insert(tower.ln_pre(x), prompts.context, start)

        deep = None if prompts is None else prompts.deep
        for layer, block in enumerate(self._blocks):
            if deep is not None and 1 <= layer <= len(deep):
                x = replace(x, deep[layer - 1], start)
            normed = block.normed(x)
            if layer < self.depth - 1:
                query, key, value = block.query_key_value(normed, updates)
            else:
                key, value = block.key_value(normed, updates)
                query = block.query(self._pooled_tokens(normed, tokens, start), updates)
                x = self._pooled_tokens(x, tokens, start)
            x = block.finish(x, F.scaled_dot_product_attention(query, key, value))
        if tower.final_ln_after_pool:
            pooled = tower.ln_post(x.mean(1))
        else:
            pooled = tower.ln_post(x).mean(1)
        features: Tensor = pooled if tower.proj is None else pooled @ tower.proj
        return features

    def _pooled_tokens(self, x: Tensor, tokens: int, start: int) -> Tensor:
        """The tokens whose mean is the feature: the class token alone, or all patch tokens, never the prompts."""
        if self._tower.pool_type == "tok":
            return x[:, :1]
        prompts = x.shape[1] - tokens
        return torch.cat([x[:, 1:start], x[:, start + prompts :]], dim=1)


class TimmTower(VisionTower):
    """A timm vision transformer under an open_clip head (SigLIP and others). Prompts are dropped before pooling."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        trunk = self._tower.trunk
        self.width = trunk.embed_dim
        self.depth = len(trunk.blocks)
        self.patch_size = trunk.patch_embed.patch_size[0]

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        trunk = self._tower.trunk
        # patch_embed, position, norm_pre, blocks, norm and head are what timm's own forward runs, in this order.
        x = trunk._pos_embed(trunk.patch_embed(images))
        start = x.shape[1] if prompts.position == "append" else trunk.num_prefix_tokens
        if prompts.before_ln_pre:
            x = trunk.norm_pre(insert(x, prompts.context, start))
        else:
            x = insert(trunk.norm_pre(x), prompts.context, start)
        for layer, block in enumerate(trunk.blocks):
            if prompts.deep is not None and 1 <= layer <= len(prompts.deep):
                x = replace(x, prompts.deep[layer - 1], start)
            x = block(x)
        x = torch.cat([x[:, :start], x[:, start + len(prompts.context) :]], dim=1)
        features: Tensor = self._tower.head(trunk.forward_head(trunk.norm(x)))
        return features


def vision_tower(model: nn.Module) -> VisionTower:
    """The tower that fits the loaded model's image encoder."""
    if isinstance(model.visual, ClipViT):
        return ViTTower(model)
    if isinstance(model.visual, TimmModel) and type(model.visual.trunk) is TimmViT:
        return TimmTower(model)
    return VisionTower(model)

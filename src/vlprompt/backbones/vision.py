"""Image towers: CLIP's vision transformer and timm's, which accept prompt tokens, and others, which do not."""

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
    """Frozen image encoder without support for prompt tokens (ModifiedResNet, convolutional timm trunks).

    Attributes:
        module: the loaded open_clip image tower.
        width: width of the tokens, d_v; None if there are none.
        depth: number of transformer layers; 0 if there are none.
        patch_size: side of a patch in pixels; None if there are no patches.
        takes_updates: whether low-rank updates are supported.
    """

    width: int | None = None
    depth: int = 0
    patch_size: int | None = None
    takes_updates = False

    def __init__(self, model: nn.Module) -> None:
        self.module: Any = model.visual

    def __call__(
        self, images: Tensor, prompts: VisualPrompts | None = None, updates: LowRankUpdates | None = None
    ) -> Tensor:
        """Return image features, fp32, not normalized.

        Args:
            images: tensor with shape (B, 3, image_size, image_size), normalized by the backbone's transforms.
            prompts: prompt tokens, or None for the frozen tower.
            updates: low-rank updates of the attention, or None for the frozen tower.

        Returns:
            tensor with shape (B, D).

        Raises:
            VLPromptError: prompts or updates are not supported, or have the wrong width or depth.
        """
        images = images.to(next(self.module.parameters()).dtype)
        if updates is not None:
            return self._updated(images, prompts, updates).float()
        if prompts is None:
            return self._plain(images).float()
        return self._prompted(images, prompts).float()

    @property
    def kind(self) -> str:
        """Class name of the tower, for messages."""
        trunk = getattr(self.module, "trunk", self.module)
        return type(trunk).__name__

    def _plain(self, images: Tensor) -> Tensor:
        features: Tensor = self.module(images)
        return features

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        raise VLPromptError(f"the image tower ({self.kind}) does not support visual prompts; use a ViT")

    def _updated(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates) -> Tensor:
        raise VLPromptError(f"the image tower ({self.kind}) does not support low-rank updates; use a CLIP ViT")


def insert(tokens: Tensor, context: Tensor, start: int) -> Tensor:
    """Insert prompts (n, d_v) into tokens (B, L, d_v) at position `start`; return tokens (B, L + n, d_v)."""
    # Not len(tokens), which would be a constant in an exported graph.
    context = context.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
    return torch.cat([tokens[:, :start], context, tokens[:, start:]], dim=1)


def replace(tokens: Tensor, context: Tensor, start: int) -> Tensor:
    """Replace n of the tokens (B, L, d_v), from position `start` on, by prompts (n, d_v)."""
    kept = torch.cat([tokens[:, :start], tokens[:, start + len(context) :]], dim=1)
    return insert(kept, context, start)


class ViTTower(VisionTower):
    """CLIP's vision transformer. Its last block computes queries and MLP only for the pooled tokens.

    Attributes:
        blocks: its transformer blocks, first layer first.
    """

    takes_updates = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        tower = self.module
        if tower.attn_pool is not None:
            raise VLPromptError("image towers with attentional pooling (CoCa) are not supported")
        self.blocks = [Block(block, layer) for layer, block in enumerate(tower.transformer.resblocks)]
        self.width = tower.conv1.out_channels
        self.depth = len(self.blocks)
        self.patch_size = tower.conv1.kernel_size[0]

    @property
    def reads_class_token(self) -> bool:
        """Whether the feature is that of the class token, rather than the mean of the patches."""
        return bool(self.module.pool_type == "tok")

    def embed(self, images: Tensor) -> Tensor:
        """Return class token and patches (B, 1 + P, d_v) with positional embeddings, before the first layer norm."""
        tower = self.module
        patches = tower.conv1(images.to(tower.conv1.weight.dtype)).flatten(2).transpose(1, 2)  # (B, P, d_v)
        tokens: Tensor = insert(patches, tower.class_embedding[None], 0) + tower.positional_embedding
        return tokens

    def prompt_start(self, prompts: VisualPrompts | None) -> int:
        """Return the position of the first prompt token; without prompts, the number of tokens."""
        appended = prompts is None or prompts.position == "append"
        return int(self.module.positional_embedding.shape[0]) if appended else 1

    def enter(self, tokens: Tensor, prompts: VisualPrompts | None) -> Tensor:
        """Return the input of the first block (B, 1 + P + n, d_v): normalized tokens (B, 1 + P, d_v) and n prompts."""
        norm, start = self.module.ln_pre, self.prompt_start(prompts)
        if prompts is None:
            entering = norm(tokens)
        elif prompts.before_ln_pre:
            entering = norm(insert(tokens, prompts.context, start))
        else:
            entering = insert(norm(tokens), prompts.context, start)
        out: Tensor = entering
        return out

    def deepen(self, tokens: Tensor, prompts: VisualPrompts | None, layer: int) -> Tensor:
        """Replace the prompt tokens by the deep prompts of a layer, if it has any."""
        if prompts is None or prompts.deep is None or not 1 <= layer <= len(prompts.deep):
            return tokens
        return replace(tokens, prompts.deep[layer - 1], self.prompt_start(prompts))

    def _plain(self, images: Tensor) -> Tensor:
        return self._run(images, None)

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        return self._run(images, prompts)

    def _updated(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates) -> Tensor:
        assert self.width is not None
        updates.check(self.depth, self.width)
        return self._run(images, prompts, updates)

    def _run(self, images: Tensor, prompts: VisualPrompts | None, updates: LowRankUpdates | None = None) -> Tensor:
        tower = self.module
        x = self.embed(images)
        tokens, start = x.shape[1], self.prompt_start(prompts)
        x = self.enter(x, prompts)
        for layer, block in enumerate(self.blocks):
            x = self.deepen(x, prompts, layer)
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
        """Return the tokens whose mean is the feature: the class token, or all patch tokens, never the prompts."""
        if self.reads_class_token:
            return x[:, :1]
        prompts = x.shape[1] - tokens
        return torch.cat([x[:, 1:start], x[:, start + prompts :]], dim=1)


class TimmTower(VisionTower):
    """timm vision transformer with an open_clip head (SigLIP and others). Prompts are removed before pooling."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        trunk = self.module.trunk
        self.width = trunk.embed_dim
        self.depth = len(trunk.blocks)
        self.patch_size = trunk.patch_embed.patch_size[0]

    def _prompted(self, images: Tensor, prompts: VisualPrompts) -> Tensor:
        trunk = self.module.trunk
        # The steps of timm's own forward, in its order: patch_embed, position, norm_pre, blocks, norm, head.
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
        x = torch.cat([x[:, :start], x[:, start + prompts.length :]], dim=1)
        features: Tensor = self.module.head(trunk.forward_head(trunk.norm(x)))
        return features


def vision_tower(model: nn.Module) -> VisionTower:
    """Wrap the image encoder of a loaded model in the matching tower."""
    if isinstance(model.visual, ClipViT):
        return ViTTower(model)
    if isinstance(model.visual, TimmModel) and type(model.visual.trunk) is TimmViT:
        return TimmTower(model)
    return VisionTower(model)

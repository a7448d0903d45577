"""Methods by name: which there are, their options, and `create_method`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vlprompt.backbones.backbone import Backbone
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import METHODS, Method
from vlprompt.methods.options import Options
from vlprompt.utils.strings import describe_validation_error, did_you_mean


def list_methods() -> list[str]:
    """Return the names that `create_method` takes, those of plug-ins included.

    Examples:
        >>> import vlprompt
        >>> "coop" in vlprompt.list_methods()
        True
    """
    return METHODS.names()


def create_method(
    name: str,
    backbone: Backbone,
    class_names: Sequence[str],
    **options: object,
) -> Method[Any]:
    """Create a method for a backbone and classes.

    Args:
        name: one of `list_methods()`.
        backbone: result of `load_backbone`.
        class_names: C class names; underscores become spaces.
        options: options of the method by keyword; `vlprompt list methods` shows them with their defaults.

    Returns:
        the method, a `torch.nn.Module` on the backbone's device.

    Raises:
        VLPromptError: the method or an option is unknown, a value is out of bounds, a class name cannot be used, or
            the backbone does not fit the method.

    Examples:
        >>> import vlprompt
        >>> backbone = vlprompt.load_backbone("embedded")
        >>> method = vlprompt.create_method("coop", backbone, ["cat", "dog"], n_ctx=4)
        >>> tuple(method.text_features().shape) == (2, backbone.embed_dim)
        True
    """
    return METHODS.get(name)(backbone, class_names, method_options(name, options))


def method_options(name: str, options: Mapping[str, Any]) -> Options:
    """Validate the options of a method and fill in its defaults.

    Args:
        name: one of `list_methods()`.
        options: values by name.

    Raises:
        VLPromptError: the method or an option is unknown, or a value is out of bounds.

    Examples:
        >>> method_options("coop", {"n_ctx": 4}).n_ctx
        4
    """
    model = METHODS.get(name).Options
    for option in options:
        if option not in model.model_fields:
            known = f"its options are {', '.join(model.model_fields)}"
            raise VLPromptError(
                f"method {name!r} has no option {option!r}; {did_you_mean(option, model.model_fields) or known}"
            )
    try:
        return model(**options)
    except ValidationError as error:
        raise VLPromptError(f"method.{describe_validation_error(error)}") from error

"""The command that makes a table's runs again."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from vlprompt.config.schema import BackboneConfig, DataConfig
from vlprompt.results.collect import Run
from vlprompt.results.tables import method_order


def command(runs: Sequence[Run]) -> str:
    """`vlprompt run ...` for the grid that the runs of one section are of, an option a line.

    Runs that no single command makes have one each. Files of one machine are named without their folders.
    """
    together: dict[tuple[str | None, int], list[Run]] = {}
    for run in runs:
        data = run.record.config.data
        together.setdefault((data.name_map, data.split_seed), []).append(run)
    return "\n\n".join(_command(group) for group in together.values())


def _command(runs: Sequence[Run]) -> str:
    section, configs = runs[0].section, [run.record.config for run in runs]
    recipe, *changes = re.split(r", (?=\w+\.\w+=)", section.recipe)
    options = {
        "--methods": ",".join(sorted({run.method for run in runs}, key=method_order)),
        "--datasets": ",".join(sorted({_public(config.data.source) for config in configs})),
        "--targets": ",".join(dict.fromkeys(_public(target) for config in configs for target in config.data.targets)),
        "--shots": ",".join(map(str, sorted({run.shots for run in runs}))),
        "--seeds": ",".join(map(str, sorted({run.seed for run in runs}))),
        "--recipe": recipe,
        "--backbone": _public(configs[0].backbone.source),
    }
    if options["--backbone"] == BackboneConfig().source:
        del options["--backbone"]
    settings = list(changes)
    if section.precision != BackboneConfig().precision:
        settings.append(f"backbone.precision={section.precision}")
    if configs[0].data.name_map is not None:
        settings.append(f"data.name_map={_public(configs[0].data.name_map)}")
    split_seed = configs[0].data.split_seed
    if split_seed != DataConfig.model_fields["split_seed"].default:
        settings.append(f"data.split_seed={split_seed}")
    words = [f"{option} {shlex.quote(value)}" for option, value in options.items() if value]
    words += [f"--set {shlex.quote(setting)}" for setting in settings]
    return " \\\n    ".join([f"vlprompt run {section.protocol}", *words, "--out runs"])


def _public(source: str) -> str:
    return Path(source).name if Path(source).expanduser().is_absolute() else source

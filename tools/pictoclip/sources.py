"""Sources of the drawings and their names: npm icon packages, and emojibase-data."""

import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlprompt.utils.files import atomic_write

NAMES_PACKAGE = "emojibase-data"
# Permissive, or attribution only. Others (share-alike, non-commercial, font licenses, unknown) are excluded.
ALLOWED_LICENSES = frozenset({"MIT", "ISC", "Apache-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0"})


@dataclass(frozen=True, slots=True)
class IconSet:
    """The npm package `@iconify-json/<name>`.

    `family` joins styles that derive from one another, which validation must hold out together.
    `skip` matches icons that repeat another one (a size, a weight); `strip` matches what is not part of a name.
    `unseen` line-art styles are never trained on; validation uses them.
    """

    name: str
    emoji: bool = False
    family: str = ""
    skip: str = "$^"
    strip: str = "$^"
    unseen: bool = False


_SIZES = r"^(?!.*-24-filled$|.*-24-regular$)"
ICON_SETS = (
    IconSet("noto", True, "noto"),
    IconSet("noto-v1", True, "noto"),
    IconSet("twemoji", True, "twemoji"),
    IconSet("fluent-emoji", True, "fluent"),
    IconSet("fluent-emoji-flat", True, "fluent"),
    IconSet("fluent-emoji-high-contrast", True, "fluent"),
    IconSet("emojione", True, "emojione"),
    IconSet("emojione-v1", True, "emojione"),
    IconSet("emojione-monotone", True, "emojione"),
    IconSet("fxemoji", True, "fxemoji"),
    IconSet("streamline-emojis", True, "streamline-emojis", strip=r"-\d+$"),
    IconSet("arcticons"),
    IconSet("game-icons", skip="^abstract-"),
    IconSet("mdi"),
    IconSet("ph", skip="-(thin|light|bold)$"),
    IconSet("tabler"),
    IconSet("lucide", unseen=True),
    IconSet("lucide-lab", unseen=True),
    IconSet("iconoir", unseen=True),
    IconSet("icon-park"),
    IconSet("healthicons", skip="-24px$"),
    IconSet("maki", skip="-(11|15)$"),
    IconSet("map"),
    IconSet("temaki"),
    IconSet("pinhead"),
    IconSet("picon"),
    IconSet("streamline", skip="-remix$"),
    IconSet("streamline-plump", skip="-remix$"),
    IconSet("streamline-ultimate-color"),
    IconSet("streamline-freehand-color"),
    IconSet("mingcute"),
    IconSet("hugeicons"),
    IconSet("fluent", skip=_SIZES, strip="-24-(filled|regular)$"),
    IconSet("fluent-color", skip=r"-(16|20|28|32|48)$"),
    IconSet("material-symbols", skip="-(rounded|sharp)$|-(rounded|sharp)-"),
    IconSet("meteocons"),
    IconSet("flat-color-icons"),
    IconSet("solar", skip="^(?!.*-bold-duotone$|.*-linear$)"),
    IconSet("guidance"),
    IconSet("medical-icon", strip="^i-"),
    IconSet("ion", skip="^(ios|md|logo)-|-sharp$"),
)
UNSEEN_STYLES = frozenset(icon_set.name for icon_set in ICON_SETS if icon_set.unseen)


def package_of(icon_set: IconSet) -> str:
    return f"@iconify-json/{icon_set.name}"


def folder_of(packages: Path, package: str) -> Path:
    return packages / package.rpartition("/")[2]


def fetch(packages: Path) -> list[dict[str, Any]]:
    """Download every source into `packages` with `npm pack`, and write `licenses.json` there.

    Packages that exist are not downloaded again.

    Returns:
        the license table: one row per package with version, license, author, source address and `used`.
    """
    packages.mkdir(parents=True, exist_ok=True)
    for package in (NAMES_PACKAGE, *map(package_of, ICON_SETS)):
        if not (folder_of(packages, package) / "package.json").exists():
            _pack(package, packages)
    table = [_icon_license(packages, icon_set) for icon_set in ICON_SETS]
    names = json.loads((folder_of(packages, NAMES_PACKAGE) / "package.json").read_text())
    table.append(
        {
            "package": NAMES_PACKAGE,
            "version": names["version"],
            "license": names["license"],
            "author": "Miles Johnson",
            "source": "https://emojibase.dev",
            "used": names["license"] in ALLOWED_LICENSES,
        }
    )
    atomic_write(packages / "licenses.json", json.dumps(table, indent=1) + "\n")
    return table


def used_sets(packages: Path) -> list[IconSet]:
    """Return the icon sets whose license, as their package states it, allows training."""
    return [icon_set for icon_set in ICON_SETS if _icon_license(packages, icon_set)["used"]]


def icon_name(icon_set: IconSet, icon: str) -> str | None:
    """Return the words of an icon's name, without sizes and weights; None if it repeats another icon."""
    if re.search(icon_set.skip, icon):
        return None
    return re.sub(icon_set.strip, "", icon).replace("-", " ")


def _icon_license(packages: Path, icon_set: IconSet) -> dict[str, Any]:
    folder = folder_of(packages, package_of(icon_set))
    info = json.loads((folder / "info.json").read_text())
    spdx = info["license"].get("spdx", "unclear")
    return {
        "package": package_of(icon_set),
        "version": json.loads((folder / "package.json").read_text())["version"],
        "license": spdx,
        "author": info["author"]["name"],
        "source": info["author"].get("url", ""),
        "used": spdx in ALLOWED_LICENSES,
    }


def _pack(package: str, packages: Path) -> None:
    listing = subprocess.run(
        ["npm", "pack", "--json", package], cwd=packages, check=True, capture_output=True, text=True
    ).stdout
    archive = packages / json.loads(listing)[0]["filename"].replace("@", "").replace("/", "-")
    target = folder_of(packages, package)
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name:
                tar.extract(member, target, filter="data")
    archive.unlink()

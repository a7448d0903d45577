"""Tree of a folder's images, and counts of the files that are left out."""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from unicodedata import normalize

from vlprompt.data.images import FORMATS, SUFFIXES, SUFFIXES_OF, format_of
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import counted, listed, visible

logger = logging.getLogger("vlprompt")

# Files and folders that operating systems and programs create, in lower case.
SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "recycler"),
        *("system volume information", "lost+found", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
# What to do about files that hold images but are not read, with their suffixes.
REASONS = {
    'pip install "vlprompt[heif]" to read them': SUFFIXES_OF["HEIF"],
    "pip install --upgrade pillow to read them": SUFFIXES_OF["AVIF"],
    "raw photographs; convert them to .jpg": ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef "
    ".nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f",
    "convert them to .png": ".ai .bpg .cur .dcm .dds .dib .eps .exr .fit .fits .hdr .icns .ico .jng .jxl .jxr .nii "
    ".pcx .pdf .ps .psb .psd .qoi .ras .sgi .svg .svgz .tga .wdp .wmf .emf .xbm .xcf .xpm",
    "videos; extract frames": ".3gp .avi .m4v .mkv .mov .mp4 .mpeg .mpg .mts .webm .wmv",
}
REASON_OF = {
    suffix: reason for reason, suffixes in REASONS.items() for suffix in suffixes.split() if suffix not in SUFFIXES
}
# Maximum number of files of each unknown suffix that are opened to see whether they are images.
OPENED = 8
# Maximum depth of folders.
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files that are not read, by suffix.

    Attributes:
        suffix: suffix in lower case; "" if there is none, or nothing that looks like one.
        count: number of files.
        reason: what they are, and how to have them read.
        images: whether they are images.
    """

    suffix: str
    count: int
    reason: str
    images: bool

    def __str__(self) -> str:
        return f"{self.count:,} {self.suffix or 'without a suffix'} ({self.reason})"


@dataclass
class Folder:
    """Folder in a tree, with its images.

    Attributes:
        path: path relative to the root of the tree; "" for the root.
        name: name of the folder.
        images: names of its images.
        folders: its folders, by name.
        others: number of its other files, by suffix.
        samples: paths of a few other files of each suffix.
    """

    path: str
    name: str
    images: set[str] = field(default_factory=set)
    folders: dict[str, "Folder"] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Path]] = field(default_factory=dict)

    def paths(self) -> Iterator[str]:
        """Yield the paths of all images in and below the folder, relative to the root, sorted within each folder."""
        start = f"{self.path}/" if self.path else ""
        for name in sorted(self.images | self.folders.keys()):
            if name in self.folders:
                yield from self.folders[name].paths()
            else:
                yield f"{start}{name}"

    def count(self) -> int:
        """Return the number of images in and below the folder."""
        return len(self.images) + sum(folder.count() for folder in self.folders.values())

    def with_images(self) -> list["Folder"]:
        """Return the folders in it that have images, in or below them, sorted by name."""
        return [folder for _, folder in sorted(self.folders.items()) if folder.count()]

    def left_out(self) -> tuple[LeftOut, ...]:
        """Return the files in and below the folder that are not read: images first, then the most frequent."""
        counts: Counter[str] = Counter()
        samples: dict[str, list[Path]] = {}
        for folder in self._all():
            counts += folder.others
            for suffix, files in folder.samples.items():
                samples.setdefault(suffix, []).extend(files)
        found = [_left_out(suffix, count, samples[suffix]) for suffix, count in counts.most_common()]
        return tuple(sorted(found, key=lambda one: not one.images))

    def _all(self) -> Iterator["Folder"]:
        yield self
        for folder in self.folders.values():
            yield from folder._all()


def walk(root: Path, exclude: Sequence[str] = ()) -> Folder:
    """Return the tree of all images below a folder; only their names are read, each folder once.

    Symbolic links are followed. Hidden files and folders are ignored, as are those that operating systems create,
    such as `__MACOSX` and the thumbnails in `@eaDir`.

    Args:
        root: the folder.
        exclude: shell patterns of files and folders to leave out. One with a slash is compared with the path relative
            to `root`, and one without a slash with the name of each file and folder.

    Raises:
        VLPromptError: a folder cannot be read, or is nested too deeply; `exclude` does not hold patterns.
    """
    if isinstance(exclude, str) or not all(isinstance(pattern, str) for pattern in exclude):
        raise VLPromptError(f"`exclude` must be a list of patterns, such as ['*_mask.png'], got {exclude!r}")
    unused = set(exclude)

    def excluded(path: str, name: str) -> bool:
        for given in exclude:
            pattern = normalize("NFC", given.rstrip("/"))
            if fnmatchcase(normalize("NFC", path if "/" in pattern else name), pattern):
                unused.discard(given)
                return True
        return False

    def visit(place: Path, folder: Folder, above: frozenset[tuple[int, int]]) -> None:
        try:
            status = place.stat()
            real = status.st_dev, status.st_ino
            if real in above:  # a symbolic link to a parent folder
                return
            if len(above) == DEEPEST:
                raise VLPromptError(f"{visible(place)} is {DEEPEST} folders deep; leave it out with `exclude`")
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise VLPromptError(
                f"folder {visible(place)} cannot be read: {error.strerror}; leave it out with `exclude`"
            ) from error
        for entry in entries:
            name = entry.name
            path = f"{folder.path}/{name}" if folder.path else name
            if is_ignored(name) or excluded(path, name):
                continue
            if _is_dir(entry):
                inner = Folder(path, name)
                visit(place / name, inner, above | {real})
                folder.folders[name] = inner
            elif (suffix := suffix_of(name)) in SUFFIXES and (entry.is_symlink() or entry.is_file()):
                folder.images.add(name)
            else:
                folder.others[suffix] += 1
                samples = folder.samples.setdefault(suffix, [])
                if len(samples) < OPENED:
                    samples.append(place / name)

    tree = Folder("", root.name)
    visit(root, tree, frozenset())
    if unused:
        logger.warning("`exclude` %s matches nothing in %s", listed(sorted(unused)), root)
    return tree


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is hidden, or created by an operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case; "" for what is none, as in `cat.0` and `a.jpg?size=large`."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - faster than Path for a million names
    return suffix if re.fullmatch(r"\.(?=\d*[a-z])[a-z0-9_~-]{1,12}", suffix) else ""


def describe(left_out: Iterable[LeftOut]) -> str:
    """Describe left-out files in one line, such as "20 files are not read: 18 .heic (...), 2 without a suffix (...)".

    Returns "" if there are none.
    """
    found = list(left_out)
    count = sum(one.count for one in found)
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'file')} {are} not read: {listed(found, quote=False)}" if found else ""


def _left_out(suffix: str, count: int, samples: Sequence[Path]) -> LeftOut:
    if suffix in REASON_OF:
        return LeftOut(suffix, count, REASON_OF[suffix], images=True)
    format_ = next(filter(None, map(_format, samples[:OPENED])), None)
    if format_ is None:
        return LeftOut(suffix, count, "no images", images=False)
    end = SUFFIXES_OF[format_].split()[0] if format_ in FORMATS else ".jpg"  # MPO is a JPEG
    return LeftOut(suffix, count, f"{format_} by content; end their names in {end}", images=True)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that cannot be read
        return False


def _format(path: Path) -> str | None:
    return format_of(path) if path.is_file() else None

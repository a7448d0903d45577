"""EuroSAT in color."""

from vlprompt.data.datasets.coop_splits import read_in_three, split_json
from vlprompt.data.datasets.known import Size
from vlprompt.data.datasets.on_disk import Layout, OnDisk

IMAGES = "2750"
SIZES = {"train": Size(13500, (1000, 1500)), "val": Size(5400, (400, 600)), "test": Size(8100, (600, 900))}
FETCH = (f"{IMAGES}/ from EuroSAT.zip (the RGB version), https://github.com/phelber/EuroSAT",)


class EuroSAT(OnDisk):
    """Satellite images of 10 land-use classes."""

    name = "eurosat"
    template = "a centered satellite photo of {}."
    license = "MIT"
    url = "https://github.com/phelber/EuroSAT"
    torchvision = "EuroSAT"
    layouts = (
        split_json("eurosat", IMAGES, "split_zhou_EuroSAT.json", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o", SIZES, FETCH),
        Layout(
            title="class folders, split by vlprompt",
            folders=("eurosat",),
            needs=(IMAGES,),
            read=read_in_three(IMAGES),
            sizes=SIZES,
            fetch=FETCH,
            standard=False,
        ),
    )

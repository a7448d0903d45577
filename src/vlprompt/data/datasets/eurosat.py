"""EuroSAT in color."""

from vlprompt.data.datasets.coop_splits import read_in_three, split_json
from vlprompt.data.datasets.known import Size
from vlprompt.data.datasets.on_disk import Layout, OnDisk

# Folder of the images in EuroSAT.zip, and in EuroSAT_RGB.zip of Zenodo.
FOLDERS = ("2750", "EuroSAT_RGB")
SIZES = {"train": Size(13500, (1000, 1500)), "val": Size(5400, (400, 600)), "test": Size(8100, (600, 900))}
FETCH = ("2750/ from EuroSAT.zip, or EuroSAT_RGB/ from EuroSAT_RGB.zip: https://github.com/phelber/EuroSAT",)
SPLIT, DRIVE = "split_zhou_EuroSAT.json", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"


class EuroSAT(OnDisk):
    """Satellite images of 10 land-use classes."""

    name = "eurosat"
    template = "a centered satellite photo of {}."
    license = "MIT"
    url = "https://github.com/phelber/EuroSAT"
    torchvision = "EuroSAT"
    layouts = (
        *(split_json("eurosat", images, SPLIT, DRIVE, SIZES, FETCH) for images in FOLDERS),
        *(
            Layout(
                title="class folders, split by vlprompt",
                folders=("eurosat",),
                needs=(images,),
                read=read_in_three(images),
                sizes=SIZES,
                fetch=FETCH,
                standard=False,
            )
            for images in FOLDERS
        ),
    )

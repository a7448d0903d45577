"""The datasets of the field, each declared in a file of its own."""

from vlprompt.data.known.base import Classes, Known, Size, read_classes
from vlprompt.data.known.caltech101 import Caltech101
from vlprompt.data.known.cifar import CIFAR10, CIFAR100
from vlprompt.data.known.dtd import DTD
from vlprompt.data.known.eurosat import EuroSAT
from vlprompt.data.known.fgvc_aircraft import FGVCAircraft
from vlprompt.data.known.flowers102 import Flowers102
from vlprompt.data.known.food101 import Food101
from vlprompt.data.known.imagenet import ImageNet
from vlprompt.data.known.imagenet_shifted import ImageNetA, ImageNetR, ImageNetSketch, ImageNetV2
from vlprompt.data.known.on_disk import OnDisk
from vlprompt.data.known.oxford_pets import OxfordPets
from vlprompt.data.known.stanford_cars import StanfordCars
from vlprompt.data.known.sun397 import SUN397
from vlprompt.data.known.ucf101 import UCF101

# In the field's order, with those that it does not have at the end.
ON_DISK: tuple[OnDisk, ...] = (
    ImageNet(),
    Caltech101(),
    OxfordPets(),
    StanfordCars(),
    Flowers102(),
    Food101(),
    FGVCAircraft(),
    SUN397(),
    DTD(),
    EuroSAT(),
    UCF101(),
    ImageNetV2(),
    ImageNetSketch(),
    ImageNetA(),
    ImageNetR(),
    CIFAR10(),
    CIFAR100(),
)

__all__ = ["ON_DISK", "Classes", "Known", "OnDisk", "Size", "read_classes"]

from .dataset import Dataset as Dataset
from .dataset import open_dataset as open_dataset
from .photograph import Photograph as Photograph
from .photograph import PreparedImage as PreparedImage
from .shards import PreparedDataset as PreparedDataset
from .synthetic import draw_fundus as draw_fundus

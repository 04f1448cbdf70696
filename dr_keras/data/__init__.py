"""From photographs to what networks take: datasets, preparation, augmentation, input pipelines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

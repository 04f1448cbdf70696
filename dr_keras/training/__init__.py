"""Training of graders: the loop, stages and folds, run folders, frozen backbones, devices and hosts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

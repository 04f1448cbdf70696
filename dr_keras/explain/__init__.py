"""Attribution maps of a score: regression activation maps, Grad-CAM and occlusion, and their pictures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

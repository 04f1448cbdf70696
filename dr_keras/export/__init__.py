"""Models for other programs: SavedModel, TFLite (LiteRT) and ONNX, checked against Keras."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

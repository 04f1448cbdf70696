"""Export of models to SavedModel, TFLite (LiteRT) and ONNX, with a comparison to Keras."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Networks: architectures, layers, published weights, and model files that carry their grading rules."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Interpretable grading of diabetic retinopathy in Keras.

    import dr_keras

    grader = dr_keras.load_grader()
    graded = grader.grade("eye.jpg")
    grader.explain("eye.jpg").overlay().save("why.png")

The rooms, in the order in which data flows through them (each imports only from those before it): `data`,
`models`, `training`, `explain`, `inference`, `evaluation`, `report`, `export`, `dicom`, `serving` and `beam`;
`papers` holds what belongs to one paper alone. `metrics`, `grades`, `errors` and `files` may be used by all.
Importing `dr_keras` loads none of them and no Keras: each is loaded when it is first used.
"""

import lazy_loader

from dr_keras import registration

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
registration.register_with_keras()

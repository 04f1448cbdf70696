"""Interpretable diabetic-retinopathy grading in Keras.

Packages, in the order data flows through them (each imports only from those before it):
`data` -> `models` -> `training` -> `explain` -> `evaluation` -> `export`. The modules beside
them (`errors`, `files`, `grades`, `metrics`) are leaves that any package may import.
Importing `dr_keras` alone loads none of them, and no TensorFlow.
"""

__version__ = "0.1.0"

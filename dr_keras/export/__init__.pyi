from .onnx import export_onnx as export_onnx
from .saved_model import export_saved_model as export_saved_model
from .tflite import export_tflite as export_tflite
from .web import export_web as export_web

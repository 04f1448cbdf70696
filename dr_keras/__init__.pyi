from . import beam as beam
from . import data as data
from . import dicom as dicom
from . import errors as errors
from . import evaluation as evaluation
from . import explain as explain
from . import export as export
from . import grades as grades
from . import inference as inference
from . import metrics as metrics
from . import models as models
from . import report as report
from . import serving as serving
from . import training as training
from .errors import InputError as InputError
from .inference.graded import Graded as Graded
from .inference.grader import Grader as Grader
from .inference.grader import load_grader as load_grader

__version__: str

from .graded import Graded as Graded
from .graded import write_grades as write_grades
from .grader import Grader as Grader
from .grader import load_grader as load_grader
from .split_scores import score_split as score_split

from .agreement import evaluate_predictions as evaluate_predictions
from .agreement import referable_auc as referable_auc
from .bootstrap import bootstrap_interval as bootstrap_interval
from .predictions import read_predictions as read_predictions
from .predictions import write_predictions as write_predictions
from .thresholds import kappa_optimal as kappa_optimal
from .thresholds import range_separation as range_separation

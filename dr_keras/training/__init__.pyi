from .config import HostConfig as HostConfig
from .config import SplitPlan as SplitPlan
from .config import TrainingConfig as TrainingConfig
from .config import stage_configs as stage_configs
from .protocol import Hooks as Hooks
from .protocol import Interrupted as Interrupted
from .runs import train as train

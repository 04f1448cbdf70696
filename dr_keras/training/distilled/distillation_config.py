"""How a network is taught without grades, as checked plain data; loads neither Keras nor TensorFlow."""

import dataclasses

from dr_keras.errors import InputError
from dr_keras.models.architectures import ARCHITECTURES
from dr_keras.training.config import TrainingConfig

STUDENTS = ("net5", "net4", "alexnet")
TEACHER_SIZES = (256, 512)  # pixels; at the larger one it sees what small lesions look like


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """How a network is taught.

    Attributes:
        architecture: of `STUDENTS`.
        image_size, teacher_size: sides, in pixels, of the images that student and teacher see.
        epochs, batch_size: an epoch shows every photograph once, each batch in one of eight orientations.
        learning_rate: of Adam at the start; half a cosine takes it to zero.
        seed: seed of the initial weights and the order.
        precision: Keras dtype policy.

    Raises:
        InputError: on creation, if the architecture isn't there for the image size.
    """

    architecture: str = "net5"
    image_size: int = 256
    teacher_size: int = 512
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.001
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self):
        if self.architecture not in STUDENTS:
            raise InputError(f"--architecture={self.architecture}: expected one of {', '.join(STUDENTS)}")
        if self.teacher_size not in TEACHER_SIZES:
            raise InputError(f"--teacher_size={self.teacher_size}: expected one of {TEACHER_SIZES}")
        self.student()

    def student(self):
        """Returns the `TrainingConfig` of the student."""
        return TrainingConfig(
            architecture=self.architecture, image_size=self.image_size, seed=self.seed,
            head=ARCHITECTURES[self.architecture].heads[0], precision=self.precision,
        )  # fmt: skip

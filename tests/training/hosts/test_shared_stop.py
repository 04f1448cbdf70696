"""When several processes ask one another whether to stop; that all stop together: test_multi_worker.py."""

import pytest
import tensorflow as tf

from dr_keras.training.hosts import workers


@pytest.mark.parametrize(
    ("steps", "took", "seconds", "expected"),
    [
        (1, 0.25, 1.0, 4),  # four steps a second
        (4, 1.0, 1.0, 4),
        (10, 0.1, 1.0, 100),  # never more than the most
        (1, 5.0, 1.0, 1),  # a slow host asks after every step
        (50, 0.0, 1.0, 100),
        (50, 0.5, 0.0, 1),
    ],
)
def test_steps_between_exchanges_last_about_so_long(steps, took, seconds, expected):
    assert workers.steps_between(steps, took, seconds) == expected


def test_a_process_alone_is_asked_after_every_step_and_stops_at_once():
    answers = iter([False, False, True])
    stop = workers.SharedStop(tf.distribute.get_strategy(), lambda: next(answers), seconds=1e9)
    assert [stop(last_step=False) for _ in range(3)] == [False, False, True]

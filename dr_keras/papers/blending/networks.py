"""Blending per patient: a small network on the pooled features of both eyes (P2, feature blending)."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dr_keras.data.sampling import class_weights
from dr_keras.files import atomic_path
from dr_keras.papers.blending.model import blend_network
from dr_keras.training import run_folder
from dr_keras.training.frozen.ridge import PENALTIES
from dr_keras.training.schedules import learning_rate


@dataclasses.dataclass(frozen=True)
class BlendConfig:
    """How a blend is trained; the defaults are the recipe behind P2.

    Attributes:
        blends: networks whose scores are averaged, dealt over the sets of features in turn.
        epochs, batch_size: length of each training.
        learning_rate: of Adam, at the start; x0.1 at each of `learning_rate_drops`.
        balanced: probability that a batch is drawn with classes equally likely.
        redrawn: probability that it is drawn uniformly with replacement; otherwise it is the epoch's next.
        seed: seed of initial weights and batches.
    """

    blends: int = 6
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 0.0005
    learning_rate_drops: tuple = (60, 80, 90)
    balanced: float = 0.2
    redrawn: float = 0.3
    seed: int = 0
    schedule: str = "step"


def blend_inputs(features, pooled, both):
    """What a blend sees: this eye's mean, the other's, this one's deviation, the other's, if it is right.

    Args:
        features: float32 (n, 2, channels), mean and standard deviation of each photograph.
        pooled: `PooledFeatures` that they are part of.
        both: whether the other eye's are among them.

    Returns:
        float32 (n, 4 * channels + 1), or (n, 2 * channels + 1).
    """
    mean, sd = features[:, 0], features[:, 1]
    other = pooled.other_eyes()
    right = np.array([[record.eye == "right"] for record in pooled.records], "float32")
    parts = [mean, mean[other], sd, sd[other]] if both else [mean, sd]
    return np.concatenate([*parts, right], axis=1)


def fit_network(inputs, grades, config, seed):
    """Trains one blend network.

    Args:
        inputs: float32 (n, features) of `blend_inputs`.
        grades: int array (n,).
        config: `BlendConfig`.
        seed: seed of this network.

    Returns:
        `model.blend_network`, trained.
    """
    network = blend_network(inputs.mean(axis=0), inputs.std(axis=0), seed)
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(network.trainable_variables)
    samples, truth = tf.constant(inputs), tf.constant(grades, tf.float32)

    @tf.function
    def run_epoch(batches):
        for chosen in batches:
            with tf.GradientTape() as tape:
                errors = tf.gather(truth, chosen) - network(tf.gather(samples, chosen), training=True)[:, 0]
                loss = tf.reduce_mean(tf.square(errors)) + tf.add_n(network.losses)
            optimizer.apply(tape.gradient(loss, [v.value for v in network.trainable_variables]))

    for epoch in range(config.epochs):
        optimizer.learning_rate.assign(learning_rate(config, epoch))
        run_epoch(tf.constant(_batches(grades, config, np.random.default_rng((seed, epoch)))))
    return network


def _batches(grades, config, rng):
    """Returns the positions of an epoch's samples: int (steps, batch_size)."""
    count, size = len(grades), config.batch_size
    batches = np.resize(rng.permutation(count), (-(-count // size), size))
    weights = class_weights(grades, epoch=0)[grades]
    for batch in batches:
        kind = rng.random()
        if kind < config.balanced:
            batch[:] = rng.choice(count, size, p=weights / weights.sum())
        elif kind < config.balanced + config.redrawn:
            batch[:] = rng.integers(count, size=size)
    return batches


def fit_networks(sets, grades, patients, folder, config):
    """Trains the blend networks of one fold; arguments and result as for `fit_ridge`.

    If `folder` isn't None, the networks are saved there as `blend_0.keras` and so on.
    """
    networks = []
    for number in range(config.blends):
        inputs = sets[number % len(sets)]
        networks.append(fit_network(inputs, grades, config, config.seed * 1000 + number))
        if folder:
            with atomic_path(folder / f"blend_{number}.keras") as temporary:
                networks[-1].save(temporary)

    def scores(given):
        inputs = [given[number % len(given)] for number in range(len(networks))]
        parts = [network(x).numpy()[:, 0] for network, x in zip(networks, inputs, strict=True)]
        return np.mean(parts, axis=0, dtype="float64")

    return scores


def fit_ridge(sets, grades, patients, folder=None):
    """Fits ridge regressions in place of networks; cross-validation by patient chooses their penalty.

    Args:
        sets: list of float32 (n, features), the inputs from each set of features.
        grades, patients: arrays (n,): true grade and patient of each photograph.
        folder: not used.

    Returns:
        Function from such a list, for other photographs, to their float64 scores, the mean over the sets.
    """
    models = []
    for inputs in sets:
        folds = GroupKFold(min(5, len(set(patients)))).split(inputs, grades, patients)
        ridge = RidgeCV(PENALTIES[::5], scoring="neg_mean_squared_error", cv=list(folds))
        models.append(make_pipeline(StandardScaler(), ridge).fit(inputs.astype("float64"), grades))
    return lambda given: np.mean([one.predict(x) for one, x in zip(models, given, strict=True)], axis=0)


def out_of_fold(pooled, both, fit, output_dir=None, progress=None):
    """Scores every photograph with a blend that was trained on neither eye of the patient.

    Args:
        pooled: list of `PooledFeatures` of the same photographs and folds.
        both: whether to use both eyes' features.
        fit: `fit_ridge`, or `fit_networks` with its configuration.
        output_dir: folder in which `fit` saves each fold's networks; or None.
        progress: wraps the iteration over folds as `tqdm.tqdm` does; called with `total`.

    Returns:
        float64 (photographs,), NaN for photographs that are in no evaluation set.
    """
    records, scores = pooled[0].records, np.full(len(pooled[0].records), np.nan)
    grades = np.array([-1 if record.grade is None else record.grade for record in records])
    patients = np.array([record.patient for record in records])
    folds = list(enumerate(pooled[0].divisions()))
    for fold, (training, judged) in progress(folds, total=len(folds)) if progress else folds:
        sets = [blend_inputs(one, each, both) for each in pooled for one in each.features[fold]]
        folder = output_dir and run_folder.fold_dir(output_dir, fold)
        fitted = fit([x[training] for x in sets], grades[training], patients[training], folder)
        scores[judged] = fitted([x[judged] for x in sets])
        keras.utils.clear_session()
    return scores

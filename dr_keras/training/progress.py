"""The progress of a training on the terminal or in a log file: stage, fold, epoch, loss, kappa, time left."""

import shutil
import sys
import time

import tqdm

_SIZE_POWER = 2  # a stage's work grows with the pixels of its images


class ProgressBar:
    """Shows where a training stands; see `Hooks.on_step`.

    On a terminal one bar is redrawn in place: the figures come first, so that a narrow window cuts off the
    bar and not them. Elsewhere (a log file) a plain line is written at the end of each epoch. The loss is
    that of the last step at the redraw before, which the device has computed by now: reading it doesn't wait.

    Args:
        configs: `TrainingConfig` of each stage, in order; () where one training is all there is.
        folds: number of folds of each stage; 0: none.
        stream: where to write; default: stderr.
        seconds: between redraws.
    """

    def __init__(self, configs=(), folds=0, stream=None, seconds=0.2):
        self._stages = {config.image_size: config for config in configs}
        self._folds, self._seconds = max(1, folds), seconds
        self._stream = stream or sys.stderr
        self._fit = self._bar = self._loss = self._start = None
        self._lines = 0  # of the history that were written

    def __call__(self, fit, loss, images_per_second):
        """Moves on by a step of `fit`."""
        if fit is not self._fit:
            self._begin(fit, loss)
        if self._stream.isatty():
            if self._bar.update(1):
                figures = self._figures(float(self._loss), images_per_second)
                self._bar.set_description_str(self._place() + figures, refresh=False)
                self._loss = loss
        elif len(fit.progress["history"]) > self._lines:
            self._write_line(images_per_second)

    def close(self):
        """Ends the bar, or writes the line of the last epoch."""
        if self._bar is not None:
            self._bar.close()
        elif self._fit is not None and len(self._fit.progress["history"]) > self._lines:
            self._write_line(self._fit.progress["history"][-1]["images_per_second"])
        self._fit = self._bar = None

    def _begin(self, fit, loss):
        self.close()
        self._fit, self._loss = fit, loss
        self._lines = len(fit.progress["history"])
        done = fit.progress["epoch"] * fit.steps + fit.progress["step"] - 1
        if self._start is None:
            self._start = time.monotonic(), self._done(less_steps=1)
        if self._stream.isatty():
            self._bar = tqdm.tqdm(
                total=fit.config.epochs * fit.steps, initial=done, mininterval=self._seconds,
                maxinterval=self._seconds, file=self._stream, ncols=shutil.get_terminal_size().columns,
                bar_format="{desc} {percentage:3.0f}%|{bar}|",
            )  # fmt: skip

    def _place(self):
        """Which of the stages and folds this is, where there are several: "stage 2/3, fold 1/5, "."""
        parts = []
        if len(self._stages) > 1:
            stage = list(self._stages).index(self._fit.config.image_size) + 1
            parts.append(f"stage {stage}/{len(self._stages)}")
        if self._folds > 1:
            parts.append(f"fold {self._fold() + 1}/{self._folds}")
        return "".join(f"{part}, " for part in parts)

    def _fold(self):
        name = self._fit.run_dir.name
        return int(name[5:]) if name.startswith("fold_") else 0

    def _figures(self, loss, images_per_second):
        fit = self._fit
        history = fit.progress["history"]
        kappa = history[-1].get("val_quadratic_weighted_kappa") if history else None
        kappa = "-" if kappa is None else f"{kappa:.3f}"
        epoch = min(fit.progress["epoch"] + 1, fit.config.epochs)
        return (
            f"epoch {epoch}/{fit.config.epochs}, loss {loss:.3f}, kappa {kappa}, {self._left()} left, "
            f"{images_per_second:.0f} images/s"
        )

    def _write_line(self, images_per_second):
        history = self._fit.progress["history"]
        row = history[-1]
        self._lines = len(history)
        kappa = row.get("val_quadratic_weighted_kappa")  # lesion networks have none yet
        validation = "" if kappa is None else f"validation kappa {kappa:.3f}, "
        print(
            f"{self._place()}epoch {len(history)}/{self._fit.config.epochs}: loss {row['loss']:.3f}, "
            f"{validation}{self._left()} left, "
            f"{images_per_second:.0f} images/s",
            file=self._stream, flush=True,
        )  # fmt: skip

    def _left(self):
        """Time until all stages and folds are done, from the speed so far."""
        start, done_before = self._start
        done = self._done()
        if done <= done_before:
            return "?"
        seconds = (time.monotonic() - start) * (1 - done) / (done - done_before)
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"

    def _done(self, less_steps=0):
        """Share of the whole work that is done."""
        stages = self._stages or {self._fit.config.image_size: self._fit.config}
        works = {size: config.epochs * size**_SIZE_POWER for size, config in stages.items()}
        size, fit = self._fit.config.image_size, self._fit
        steps = fit.progress["epoch"] * fit.steps + fit.progress["step"] - less_steps
        before = sum(work for other, work in works.items() if other < size) * self._folds
        within = works[size] * (self._fold() + steps / (fit.config.epochs * fit.steps))
        return (before + within) / (sum(works.values()) * self._folds)

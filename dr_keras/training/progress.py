"""The progress bar of a training."""

import sys

import tqdm


class ProgressBar:
    """One bar per training: photographs/s, loss, validation kappa, time left. See `Hooks.on_step`.

    On a terminal it is redrawn in place; elsewhere (a log file) a line is written every `seconds`. The loss
    is that of the last step at the redraw before, which the device has computed by now: reading it doesn't
    wait.
    """

    def __init__(self, seconds=20):
        self._fit = self._bar = self._loss = None
        self._seconds = 0.2 if sys.stderr.isatty() else seconds

    def __call__(self, fit, loss, images_per_second):
        """Moves the bar of `fit` on by a step."""
        if fit is not self._fit:
            self.close()
            done = fit.progress["epoch"] * fit.steps + fit.progress["step"] - 1
            self._bar = tqdm.tqdm(
                total=fit.config.epochs * fit.steps, initial=done, unit="step", mininterval=self._seconds,
                maxinterval=self._seconds, desc=str(fit.run_dir),
            )  # fmt: skip
            self._fit, self._loss = fit, loss
        if self._bar.update(1):
            history = fit.progress["history"]
            kappa = f"{history[-1]['val_quadratic_weighted_kappa']:.3f}" if history else "-"
            self._bar.set_postfix_str(
                f"epoch {fit.progress['epoch'] + 1}/{fit.config.epochs}, {images_per_second:.0f} images/s, "
                f"loss {float(self._loss):.3f}, validation kappa {kappa}", refresh=False,
            )  # fmt: skip
            self._loss = loss

    def close(self):
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

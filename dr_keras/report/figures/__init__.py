"""Figures of a report, by family; each returns a matplotlib figure that is no part of pyplot's state."""

from dr_keras.report.figures.confusion import confusion_figure, confusion_image

__all__ = ["confusion_figure", "confusion_image"]

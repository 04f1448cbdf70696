"""The lesions of diabetic retinopathy that are marked one by one: kinds, names in words, colours."""

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
OPTIC_DISC = "optic_disc"  # no lesion, but as bright as exudates
CHANNELS = (*LESIONS, OPTIC_DISC)  # of a lesion network's probabilities
# One of each, many of them.
WORDS = {
    "microaneurysms": ("microaneurysm", "microaneurysms"),
    "haemorrhages": ("haemorrhage", "haemorrhages"),
    "hard_exudates": ("hard exudate", "hard exudates"),
    "soft_exudates": ("soft exudate", "soft exudates"),
    "neovascularisation": ("new vessel", "new vessels"),
    OPTIC_DISC: ("optic disc", "optic discs"),
}
COLOR_NAMES = {
    "microaneurysms": "white",
    "haemorrhages": "light blue",
    "hard_exudates": "dark blue",
    "soft_exudates": "pink",
}
# RGB. None is a colour of the retina, and each has a brightness of its own, by which colour-blind readers can
# tell them apart.
COLORS = {
    "microaneurysms": (255, 255, 255),
    "haemorrhages": (0, 225, 255),
    "hard_exudates": (60, 60, 255),
    "soft_exudates": (255, 60, 255),
    "neovascularisation": (60, 255, 60),
}

"""How the files of photographs end."""

DICOM_SUFFIXES = (".dcm", ".dicom")
OTHER_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
IMAGE_SUFFIXES = (*OTHER_SUFFIXES, *DICOM_SUFFIXES)

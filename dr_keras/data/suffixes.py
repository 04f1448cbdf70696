"""How the files of photographs end."""

DICOM_SUFFIXES = (".dcm", ".dicom")
OTHER_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".webp")
IMAGE_SUFFIXES = (*OTHER_SUFFIXES, *DICOM_SUFFIXES)
# Of pictures that aren't read. Where photographs are to be graded each has its row, which says so.
UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".gif", ".psd", ".dng", ".nef", ".cr2")

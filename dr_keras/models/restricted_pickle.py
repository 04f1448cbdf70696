"""Safe reading of the pickles in weight files.

A pickle is a program that may import and call whatever it names; here it can only use a given list of names.
"""

import collections
import pickle
import pickletools

from dr_keras.errors import InputError

# Instructions that make objects in ways no weights file needs. The others make plain values and call names.
_REFUSED_OPCODES = set("INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID NEXT_BUFFER READONLY_BUFFER".split())
Storage = collections.namedtuple("Storage", "kind key count")


class _Unpickler(pickle.Unpickler):
    """Admits only the names in a dict and replaces each with the dict's value."""

    def __init__(self, path, file, names, storages=None, **kwargs):
        super().__init__(file, **kwargs)
        self._path, self._names, self._storages = path, names, storages

    def find_class(self, module, name):
        if (module, name) not in self._names:
            raise InputError(f"{self._path}: pickle names {module}.{name}, which no weights file needs")
        return self._names[module, name]

    def persistent_load(self, pid):
        marker, kind, key, _, count, *view = pid
        if self._storages is None or marker != "storage" or any(item is not None for item in view):
            raise InputError(f"{self._path}: pickle refers to something outside that is no tensor's storage")
        return self._storages.setdefault(key, Storage(kind, key, count))


def load_pickle(path, file, names, storages=None, **kwargs):
    """Checks the instructions of the pickle at the file's position, then runs it.

    Args:
        path: path of the file, for error messages.
        file: binary, seekable file.
        names: dict of (module, name) -> object that the pickle gets for this name. No module is imported.
        storages: dict that collects, by key, the `Storage` objects that a PyTorch pickle refers to.
        **kwargs: arguments of `pickle.Unpickler`.

    Raises:
        InputError: if the pickle has a name or an instruction that no weights file needs.
        Exception: of any class, if the pickle is damaged.
    """
    start = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        # Each instruction makes one object at most, so a memo index beyond the position only wastes memory.
        too_far = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > position
        if opcode.name in _REFUSED_OPCODES or too_far:
            raise InputError(f"{path}: pickle instruction {opcode.name}, which no weights file needs")
    file.seek(start)
    return _Unpickler(path, file, names, storages, **kwargs).load()

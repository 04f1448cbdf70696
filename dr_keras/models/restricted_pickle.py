"""Pickles of weight files: programs that may import and call what they name, held to a list of names."""

import collections
import pickle
import pickletools

from dr_keras.errors import InputError

# Ways of making objects that no writer of weights uses; what is left makes plain values and calls names.
_REFUSED_OPCODES = set("INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID NEXT_BUFFER READONLY_BUFFER".split())
Storage = collections.namedtuple("Storage", "kind key count")


class _Unpickler(pickle.Unpickler):
    """Admits the names of a dict, and gives its values for them."""

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
    """Runs the pickle at the file's position, after a look at its instructions.

    Args:
        path: for messages.
        file: binary, seekable.
        names: dict of (module, name) -> what the pickle gets for it. No module is imported.
        storages: dict that collects the storages a PyTorch pickle refers to, by key.
        **kwargs: of `pickle.Unpickler`.

    Raises:
        InputError: for a name or an instruction that no weights file needs.
        Exception: of any class, where the pickle is damaged.
    """
    start = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        # A memo slot far beyond what the pickle has made so far only serves to fill the memory.
        too_far = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > position
        if opcode.name in _REFUSED_OPCODES or too_far:
            raise InputError(f"{path}: pickle instruction {opcode.name}, which no weights file needs")
    file.seek(start)
    return _Unpickler(path, file, names, storages, **kwargs).load()

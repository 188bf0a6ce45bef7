"""LightGBM through its C library: bit-equal with training, microseconds a row, without importing the package.

The functions used are the library's documented C API (LightGBM/include/LightGBM/c_api.h).
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsafeModel, UnsupportedModel
from flyball.registry.formats.libraries import find_library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLOAT64 = 1
_NORMAL = 0
_ROW_MAJOR = 1
_ALL_TREES = -1
_PARAMETERS = b"num_threads=1 verbosity=-1"


def is_installed() -> bool:
    """Whether the library is here."""
    return find_library("lightgbm", "_lightgbm") is not None


class LightGBMModel:
    """A text model in the library. Answers are float64, shape (rows,), or (rows, classes) for more than two."""

    def __init__(self, text: str, feature_count: int) -> None:
        """`text` must have been checked by `lightgbm_text.read_text`. Raises UnsupportedModel, UnsafeModel."""
        import numpy as np

        library = find_library("lightgbm", "_lightgbm")
        if library is None:
            raise UnsupportedModel("this model needs LightGBM; install flyball[boost] where it is served")
        library.LGBM_GetLastError.restype = ctypes.c_char_p
        self._library = library
        self._handle = ctypes.c_void_p()
        self._single = ctypes.c_void_p()
        # One row's answer goes through buffers that are made once; the lock lends them to one caller at a time.
        self._lock = threading.Lock()
        rounds = ctypes.c_int()
        self._call(
            "LGBM_BoosterLoadModelFromString",
            ctypes.c_char_p(text.encode()),
            ctypes.byref(rounds),
            ctypes.byref(self._handle),
        )
        classes = ctypes.c_int()
        self._call("LGBM_BoosterGetNumClasses", self._handle, ctypes.byref(classes))
        self.class_count = classes.value
        self._feature_count = feature_count
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            self._handle,
            _NORMAL,
            0,
            _ALL_TREES,
            _FLOAT64,
            ctypes.c_int32(feature_count),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(self._single),
        )
        self._out = np.zeros(self.class_count)
        self._out_pointer = ctypes.c_void_p(self._out.ctypes.data)
        self._length = ctypes.c_int64()
        self._length_pointer = ctypes.byref(self._length)
        self._predict_single = library.LGBM_BoosterPredictForMatSingleRowFast

    def raw(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's numbers for a C-contiguous float64 matrix."""
        if len(matrix) == 1:
            with self._lock:
                pointer = ctypes.c_void_p(matrix.ctypes.data)
                if self._predict_single(self._single, pointer, self._length_pointer, self._out_pointer):
                    raise self._problem("LGBM_BoosterPredictForMatSingleRowFast")
                out = self._out.copy()
            return out if self.class_count == 1 else out.reshape(1, -1)
        return self._many(matrix)

    def _many(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        out = np.zeros(len(matrix) * self.class_count)
        if len(matrix):
            length = ctypes.c_int64()
            self._call(
                "LGBM_BoosterPredictForMat",
                self._handle,
                ctypes.c_void_p(matrix.ctypes.data),
                _FLOAT64,
                ctypes.c_int32(len(matrix)),
                ctypes.c_int32(self._feature_count),
                _ROW_MAJOR,
                _NORMAL,
                0,
                _ALL_TREES,
                ctypes.c_char_p(_PARAMETERS),
                ctypes.byref(length),
                ctypes.c_void_p(out.ctypes.data),
            )
        return out if self.class_count == 1 else out.reshape(-1, self.class_count)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise self._problem(name)

    def _problem(self, name: str) -> UnsafeModel:
        words = self._library.LGBM_GetLastError() or b""
        return UnsafeModel(f"LightGBM refuses this model ({name}): {words.decode(errors='replace')[:300]}")

    def __del__(self) -> None:
        if getattr(self, "_single", None):
            self._library.LGBM_FastConfigFree(self._single)
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)

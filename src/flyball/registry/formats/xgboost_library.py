"""XGBoost through its C library, without importing the package: `XGBoosterPredictFromDense` of its documented C API."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any

from flyball.core.errors import UnsafeModel, UnsupportedModel
from flyball.registry.formats.libraries import find_library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# JSON of the library's own dialect, which knows NaN.
_ASK = (
    b'{"type": 0, "training": false, "iteration_begin": 0, "iteration_end": %d, "missing": NaN, '
    b'"strict_shape": false, "cache_id": 0}'
)


def is_installed() -> bool:
    """Whether the library is here."""
    return find_library("xgboost", "xgboost") is not None


class XGBoostModel:
    """A model in UBJSON in the library. Answers are float64 of float32 values, (rows,) or (rows, classes)."""

    def __init__(self, data: bytes, iterations: int = 0) -> None:
        """`data` must have been checked by `xgboost_file.read_model`: for some files the library ends the process.

        iterations: how many rounds answer; 0 for all. Raises UnsupportedModel, UnsafeModel.
        """
        library = find_library("xgboost", "xgboost")
        if library is None:
            raise UnsupportedModel("this model needs XGBoost; install flyball[boost] where it is served")
        library.XGBGetLastError.restype = ctypes.c_char_p
        self._library = library
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()
        self._ask = _ASK % iterations
        self._call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        self._call(
            "XGBoosterLoadModelFromBuffer", self._handle, ctypes.c_char_p(data), ctypes.c_uint64(len(data))
        )
        self._call("XGBoosterSetParam", self._handle, b"nthread", b"1")

    def raw(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """The model's numbers for a C-contiguous float64 matrix."""
        import numpy as np

        shape = ctypes.POINTER(ctypes.c_uint64)()
        dimensions = ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        where = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f8", "version": 3}' % (
            matrix.ctypes.data,
            *matrix.shape,
        )
        # The result lies in a buffer of the booster, until the next call.
        with self._lock:
            self._call(
                "XGBoosterPredictFromDense",
                self._handle,
                where,
                self._ask,
                None,
                ctypes.byref(shape),
                ctypes.byref(dimensions),
                ctypes.byref(result),
            )
            sizes = [shape[place] for place in range(dimensions.value)]
            out = np.ctypeslib.as_array(result, (int(np.prod(sizes)),)).astype(np.float64)
        return out if len(sizes) == 1 else out.reshape(sizes[0], -1)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            words = self._library.XGBGetLastError() or b""
            line = words.decode(errors="replace").strip().split("\n")[0][:300]
            raise UnsafeModel(f"XGBoost refuses this model ({name}): {line}")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.XGBoosterFree(self._handle)

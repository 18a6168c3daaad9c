"""How a session of ONNX Runtime is opened: with which options, of a graph or of its optimised form in a cache."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pullback.backends.session_cache import GRAPH, WEIGHTS, SessionCache, Stored
from pullback.errors import BundleError
from pullback.storage.onnx_cut import cut
from pullback.storage.opening import GraphFile

if TYPE_CHECKING:
    import onnxruntime

LEVELS = {"disabled": 0, "basic": 1, "extended": 2, "all": 99}

# Up to this many bytes of graph and weights a call gets one thread: small nets are faster with it, and leave the other
# cores to their neighbours. Where the border lies depends on the machine; ``threads=`` overrides it.
ONE_THREAD_BYTES = 4 * 2**20

# Where weights are that a graph keeps in another file.
_FOLDER = "session.model_external_initializers_file_folder_path"

# Weights from 1 MB on go into a file that is mapped into memory: ONNX Runtime writes those to whole pages, so that they
# lie there as they would in its own memory (kernels may sum in another order where a number is not aligned).
_EXTERNAL = {"file_name": WEIGHTS, "min_size_in_bytes": str(2**20)}


class Opener:
    """Opens sessions of one bundle for ``providers`` at a level of ``optimization``; ``cache``: None for none."""

    def __init__(self, providers: Sequence[Any], optimization: str, cache: SessionCache | None = None) -> None:
        self._providers = list(providers)
        self._optimization = optimization
        self._cache = cache

    def open(
        self, graph: GraphFile, name: str, outputs: frozenset[str] | None, threads: int | None
    ) -> onnxruntime.InferenceSession:
        """A session of what leads to ``outputs`` of the function ``name`` (None: to all); raises ``BundleError``."""
        if self._cache is None:
            content = _content(graph, name, outputs)
            return self._checked(name, content, self._options(graph, content, threads))
        stored = self._cache.read(name, outputs)
        if stored is not None:
            try:
                session = self._of_stored(stored, threads)
            except Exception:  # of the right key and hash: ONNX Runtime has a reason of its own, and gets the graph
                stored = None
            else:
                graph.forget()
                return session
        return self._open_and_store(self._cache, graph, name, outputs, threads)

    def open_profiling(
        self, graph: GraphFile, name: str, outputs: frozenset[str] | None, threads: int | None, prefix: str
    ) -> onnxruntime.InferenceSession:
        """The same, not of a stored graph, with a profile in a file that starts with ``prefix``."""
        content = _content(graph, name, outputs)
        options = self._options(graph, content, threads)
        options.enable_profiling = True
        options.profile_file_prefix = prefix
        return self._checked(name, content, options)

    def _open_and_store(
        self, cache: SessionCache, graph: GraphFile, name: str, outputs: frozenset[str] | None, threads: int | None
    ) -> onnxruntime.InferenceSession:
        """A session that writes its graph; one that does not, where that fails."""
        made: list[onnxruntime.InferenceSession] = []
        content = _content(graph, name, outputs)
        size = _size(graph, content)

        def save(folder: Path) -> None:
            options = self._options(graph, content, threads)
            options.optimized_model_filepath = str(folder / GRAPH)
            for key, value in _EXTERNAL.items():
                options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
            made.append(self._session(content, options))
            # A disk that is full may end a file early without an error.
            self._of_stored(Stored((folder / GRAPH).read_bytes(), folder, size), threads)

        cache.write(name, outputs, size, save)
        return made[0] if made else self._checked(name, content, self._options(graph, content, threads))

    def _of_stored(self, stored: Stored, threads: int | None) -> onnxruntime.InferenceSession:
        """Of a graph that was optimised already."""
        options = session_options(stored.size, threads=threads, optimization="disabled")
        options.add_session_config_entry(_FOLDER, str(stored.folder))
        return self._session(stored.graph, options)

    def _options(self, graph: GraphFile, content: bytes, threads: int | None) -> onnxruntime.SessionOptions:
        """For ``content``, the whole of a graph or a part; raises ``BundleError`` where its weights were changed."""
        options = session_options(_size(graph, content), threads=threads, optimization=self._optimization)
        if graph.weights is not None:
            options.add_session_config_entry(_FOLDER, str(graph.weights.folder()))
        return options

    def _checked(self, name: str, content: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            return self._session(content, options)
        except Exception as error:
            version = load_onnxruntime().__version__
            raise BundleError(
                f"{name}: ONNX Runtime {version} cannot open its graph: {first_line(error)}; upgrade onnxruntime, or"
                " export the model again with a lower opset="
            ) from error

    def _session(self, graph: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        return load_onnxruntime().InferenceSession(graph, options, providers=self._providers)


def session_options(size: int, *, threads: int | None = None, optimization: str = "all") -> onnxruntime.SessionOptions:
    """Options for a graph of ``size`` bytes: one thread where that is faster, and none that spins."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong comes as an exception, and is said once
    options.intra_op_num_threads = threads if threads is not None else (1 if size <= ONE_THREAD_BYTES else 0)
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel(LEVELS[optimization])
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def first_line(error: Exception) -> str:
    """What an error says, without what ONNX Runtime says below."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@functools.cache
def load_onnxruntime() -> Any:
    """The module, imported when it is first needed."""
    import onnxruntime

    return onnxruntime


def _size(graph: GraphFile, content: bytes) -> int:
    return len(content) + (graph.weights.file.size if graph.weights is not None else 0)


def _content(graph: GraphFile, name: str, outputs: frozenset[str] | None) -> bytes:
    return graph.read() if outputs is None else cut(graph.read(), outputs, name)

"""ONNX Runtime on the graphs of a bundle; sessions are made at the first call of each function."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pullback.backends import Array
from pullback.backends.session_cache import SessionCache, open_cache
from pullback.backends.sessions import LEVELS, ONE_THREAD_BYTES, Opener, first_line, load_onnxruntime
from pullback.calls.rows import NARROW_ROW_BYTES, WHOLE_BATCHES, Choice, RowPlan, fewest_rows
from pullback.errors import InputError, NotExportedError, PullbackError
from pullback.manifest import FunctionSpec
from pullback.storage.opening import GraphFile, Opened

if TYPE_CHECKING:
    import onnxruntime

# Sessions of parts of a graph, for ``fetch=``, that are kept open.
KEPT_PARTS = 8


class OnnxBackend:
    """Sessions of the functions whose ``graphs`` are given by name; a graph is read when a session is opened."""

    def __init__(
        self,
        graphs: Mapping[str, GraphFile],
        *,
        threads: int | None = None,
        providers: Sequence[Any] | None = None,
        optimization: str = "all",
        cache: Callable[[list[Any]], SessionCache | None] = lambda providers: None,
    ) -> None:
        """``cache``: where sessions of those providers keep optimised graphs; None: nowhere."""
        _check_options(threads, optimization)
        self._graphs = dict(graphs)
        self._threads = threads
        self._providers = _check_providers(providers)
        self._opener = Opener(self._providers, optimization, cache(self._providers))
        self._sessions: dict[tuple[str, int | None], onnxruntime.InferenceSession] = {}
        self._parts: dict[tuple[str, frozenset[str], int | None], onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, opened: Opened, options: Mapping[str, Any]) -> OnnxBackend:
        """The backend of a checked bundle; raises ``NotExportedError`` where it holds no ONNX graph."""
        if not opened.graphs:
            raise NotExportedError(
                f"{opened.path}: exported without ONNX; load it with backend='saved_model' (--backend saved_model)"
            )

        def cache(providers: list[Any]) -> SessionCache | None:
            return open_cache(options["cache"], opened.path, opened.digest, providers, options["optimization"])

        chosen = {name: options[name] for name in ("threads", "providers", "optimization")}
        return cls(opened.graphs, **chosen, cache=cache)

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        """Opens a session, unless calls may get by with that of chunks: that one is opened at the first chunk."""
        name, names, plan = function.name, list(outputs), self.plan(function)
        threads = self._run_threads(function, plan)
        shared = plan.threads > 1
        opened = functools.partial(self._run_of, function, outputs, threads)
        run = _Later(opened) if threads != 1 and shared else opened()
        of_chunks = functools.partial(self._run_of, function, outputs, 1 if shared else threads)
        return Choice(
            functools.partial(_run, name, run, names),
            plan,
            lambda: functools.partial(_run, name, of_chunks(), names),
            function.shared_inputs,
        )

    def plan(self, function: FunctionSpec) -> RowPlan:
        """How batches of ``function`` are split: by the widest value, among all threads of a call where it has more."""
        if not function.divisible:
            return WHOLE_BATCHES
        graph = self._graph(function.name)
        shares = self._providers == ["CPUExecutionProvider"]
        one = self._threads is None and graph.size <= ONE_THREAD_BYTES
        fewest = fewest_rows(graph.row_bytes, graph.size, graph.shares_weights)
        return RowPlan(graph.row_bytes, self._cores() if shares and not one else 1, fewest)

    def _cores(self) -> int:
        if self._threads:
            return self._threads
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _run_threads(self, function: FunctionSpec, plan: RowPlan) -> int | None:
        """The threads inside of one run that computes a whole batch: one where operators are too small to be shared."""
        graph = self._graph(function.name)
        small = 0 < graph.row_bytes <= NARROW_ROW_BYTES and graph.size <= ONE_THREAD_BYTES
        return 1 if small and plan.threads > 1 else self._threads

    def _run_of(self, function: FunctionSpec, outputs: tuple[str, ...], threads: int | None) -> Callable[..., Any]:
        session = self._session_of(function, outputs, threads)
        run: Callable[..., Any] = session.run
        if self._providers == ["CPUExecutionProvider"]:
            # What session.run calls after checks that ours make needless, and its retry on another provider.
            run = getattr(getattr(session, "_sess", None), "run", run)
        return run

    def session_of(self, function: FunctionSpec, outputs: tuple[str, ...]) -> onnxruntime.InferenceSession:
        """A session that runs only what leads to ``outputs``: one of its own where these are not all."""
        return self._session_of(function, outputs, self._threads)

    def profiling_session(
        self, function: FunctionSpec, outputs: tuple[str, ...], prefix: str
    ) -> onnxruntime.InferenceSession:
        """A new session as a call has it, which writes its profile into a file that starts with ``prefix``."""
        graph, threads = self._graph(function.name), self._run_threads(function, self.plan(function))
        part = None if len(outputs) == len(function.outputs) else frozenset(outputs)
        return self._opener.open_profiling(graph, function.name, part, threads, prefix)

    def _session_of(
        self, function: FunctionSpec, outputs: tuple[str, ...], threads: int | None
    ) -> onnxruntime.InferenceSession:
        if len(outputs) == len(function.outputs):
            return self._whole(function.name, threads)
        return self._part(function.name, frozenset(outputs), threads)

    def _whole(self, name: str, threads: int | None) -> onnxruntime.InferenceSession:
        with self._lock:
            if (name, threads) not in self._sessions:
                self._sessions[name, threads] = self._opener.open(self._graph(name), name, None, threads)
            return self._sessions[name, threads]

    def _part(self, name: str, outputs: frozenset[str], threads: int | None) -> onnxruntime.InferenceSession:
        """The session of some outputs of a function. The last few are kept: each holds weights of its own."""
        with self._lock:
            session = self._parts.pop((name, outputs, threads), None)
            if session is None:
                session = self._opener.open(self._graph(name), name, outputs, threads)
            self._parts[name, outputs, threads] = session
            if len(self._parts) > KEPT_PARTS:
                del self._parts[next(iter(self._parts))]
            return session

    def _graph(self, name: str) -> GraphFile:
        if name not in self._graphs:
            raise NotExportedError(f"there is no ONNX graph of {name!r}; it holds {', '.join(self._graphs)}")
        return self._graphs[name]

    def reset(self) -> None:
        """New lock, no sessions; the parent's are kept alive, for their threads do not exist in this process."""
        for session in (*self._sessions.values(), *self._parts.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._sessions, self._parts = {}, {}
        self._lock = threading.Lock()


class _Later:
    """``run`` of a session that is opened when it is first called."""

    def __init__(self, opened: Callable[[], Callable[..., Any]]) -> None:
        self._opened = opened
        self._run: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        if self._run is None:
            self._run = self._opened()
        return self._run(*args)


def _run(
    name: str, run: Callable[..., Sequence[Array]], outputs: list[str], feeds: dict[str, Array]
) -> Sequence[Array]:
    try:
        return run(outputs, feeds, None)
    except PullbackError:
        raise
    except Exception as error:
        if "Invalid input shape" in str(error):  # of a convolution, in conv_attributes.h
            raise InputError(
                f"{name}: an axis of an input is shorter than the kernel of a convolution that slides along it; pass"
                f" longer ones (ONNX Runtime: {first_line(error)})"
            ) from error
        raise PullbackError(f"{name}: ONNX Runtime failed: {first_line(error)}{_remedy(error)}") from error


def _remedy(error: Exception) -> str:
    text = str(error)
    if "out of data bounds" in text or "invalid index found" in text:
        return "; a value of an integer input is not among the indices of what it picks from"
    return ""


def _check_options(threads: int | None, optimization: str) -> None:
    if threads is not None and (type(threads) is not int or threads < 0):
        raise InputError(f"threads must be a number of threads, 0 for one per core, or None; got {threads!r}")
    if optimization not in LEVELS:
        raise InputError(f"optimization must be one of {', '.join(LEVELS)}; got {optimization!r}")


def _check_providers(providers: Sequence[Any] | None) -> list[Any]:
    if providers is None:
        return ["CPUExecutionProvider"]
    known = load_onnxruntime().get_available_providers()
    if isinstance(providers, str) or not providers:
        raise InputError(f"providers must be a list of names; available here: {', '.join(known)}")
    for provider in providers:
        name = provider[0] if isinstance(provider, tuple) and provider else provider
        if name not in known:
            raise InputError(f"provider {name!r} is not in this ONNX Runtime; available here: {', '.join(known)}")
    return list(providers)

"""Servers that have sqgen and PyTorch loaded, and fork for each command that a test runs.

Starting Python takes 0.25 s for `sqgen`, and 2 s for `sqgen-caffe`, which imports PyTorch. Forking
a process that has imported them takes milliseconds. The fork is still a process of its own, with
its pid, streams, folder, environment, umask, resource limits, signal handlers and exit code. Each
pytest worker starts a server when it first needs one, which starts a second for commands that need
PyTorch: a fork with PyTorch loaded takes several times as long.

`run` runs a command to its end, or Python code as `-c` does. `python()` returns a program to start
instead of `sys.executable`, with `-m sqgen` or `-m sqgen.engine`: it passes its streams to the
server, forwards signals, and exits as the fork does. With other arguments, or with another value of
a variable that Python reads only at start, such as PYTHONUTF8 or OMP_NUM_THREADS, it becomes the
real interpreter. A forked `sqgen` starts its engine through the same program.

Some tests need `sys.executable`: those of imports, start-up time, the controlling terminal (a fork
leads its own session), and signals to a process group.

A server never runs an operation of PyTorch: a fork would wait forever for threads that only its
parent has.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import marshal
import os
import pkgutil
import re
import resource
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

PYTHON = sys.executable  # tests may put another one there
PROGRAMS = {"sqgen": "sqgen", "sqgen-caffe": "sqgen.engine"}
MODULES = tuple(PROGRAMS.values())
CODE = "-c"  # in place of a module: the first argument is Python code
# What begins so is forked from the second server, which has PyTorch and more.
HEAVY = (
    *(CODE, "sqgen.engine", "sqgen classify", "sqgen compress eval", "sqgen features"),
    *("sqgen data", "sqgen export", "sqgen import", "sqgen finetune", "sqgen prune"),
    *("sqgen quantize",),
    *("sqgen time --table", "sqgen weights map", "sqgen weights convert", "sqgen weights probe"),
)
# Of their modules, the first server has those that load no PyTorch.
ROOMS = (
    "templates.compiled formats evaluation nets weights generator models datasets compress search"
    " pruning quantization logs runner drawing report studies sweep tools"
)
HEAVY_ROOMS = "engine exchange finetune pruning quantization studies"
# What commands import where they need it.
LIGHT_MODULES = ("encodings.cp437", "encodings.utf_8_sig", "numpy.ma", "numpy.random", "tomli_w")
HEAVY_MODULES = (
    *("cv2", "h5py", "lmdb", "onnxruntime", "safetensors.numpy"),
    "torch.fx.experimental.symbolic_shapes",  # which a first gradient by hand imports
)
# Read once, by an interpreter or a library that starts.
AT_START = (
    *("PYTHON", "LC_", "LANG", "LD_", "MALLOC_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_"),
)
FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
SHARED: list[str] = []  # the folder of made_once.py, where there is one
LARGE_PAGE = 1 << 21
COLLAPSE = 25  # MADV_COLLAPSE
LENGTH = struct.Struct("=I")
STATUS = struct.Struct("=i")

# Without `site`, and of modules only those written in C: it starts in 10 ms.
CLIENT = """#!{python} -IS
import marshal, os, sys
from _signal import SIG_DFL, SIG_IGN, getsignal, signal
words = sys.argv[1:]
if os.path.basename(sys.argv[0]) in {programs}:
    words = ["-m", {programs}[os.path.basename(sys.argv[0])], *words]
safe = words[:1] == ["-P"]
name = words[safe + 1] if words[safe:safe + 1] == ["-m"] and len(words) > safe + 1 else ""
env = dict(os.environb)
def at_start(variables):
    return {{k: v for k, v in variables.items() if k.startswith({at_start})}}
if name not in {modules} or at_start(env) != {environment}:
    os.execv({python!r}, [{python!r}, *words])
try:
    here = os.getcwdb()
except OSError:
    os.execv({python!r}, [{python!r}, *words])
streams = []
for number in range(3):
    try:
        os.fstat(number)
    except OSError:
        continue
    streams.append(number)
import _socket
connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
if connection.fileno() < 3:
    import fcntl
    connection = _socket.socket(fileno=fcntl.fcntl(connection.detach(), fcntl.F_DUPFD_CLOEXEC, 3))
heavy = " ".join([name, *words[safe + 2:]]).startswith({heavy})
connection.connect({folder!r} + ("/heavy" if heavy else "/light"))
ignored = [n for n in {forwarded} if getsignal(n) is SIG_IGN]
for n in {forwarded}:
    if n not in ignored:
        signal(n, lambda n, frame: connection.send(bytes([n])))
umask = os.umask(0)
os.umask(umask)
request = marshal.dumps(dict(module=name, arguments=words[safe + 2:], safe=safe, env=env,
    cwd=here, umask=umask, ignored=ignored, streams=streams, limits=os.getpid()))
rights = b"".join(n.to_bytes(4, sys.byteorder) for n in streams)
head = len(request).to_bytes(4, sys.byteorder)
connection.sendmsg([head], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if streams else [])
while request:
    request = request[connection.send(request):]
status = b""
while len(status) < 4:
    data = connection.recv(4 - len(status))
    if not data:
        os.write(2, b"the server of tests/engine_server.py is gone\\n")
        os._exit(70)
    status += data
status = int.from_bytes(status, sys.byteorder, signed=True)
if status < 0:
    if -status not in (9, 19):
        signal(-status, SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


# What tests use


def python() -> str:
    """A program that stands in for `sys.executable`, for `-m sqgen` and `-m sqgen.engine`."""
    return str(folder() / "python")


def folder() -> Path:
    """The folder of that program, and of such a `sqgen` and `sqgen-caffe`, for a PATH."""
    return _server().folder


def run(
    module: str,
    arguments: Sequence[str],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    memory: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m MODULE ARGUMENTS` in a fork, to its end.

    Args:
        module: `sqgen`, `sqgen.engine` or `CODE`.
        arguments: what follows.
        stdin: bytes of its standard input, a pipe.
        cwd: the folder it runs in [this process's].
        env: variables beside those of this process.
        timeout: seconds until it is killed.
        memory: bytes that it may allocate [as many as this process].

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    environment = {os.fsencode(k): os.fsencode(v) for k, v in {**os.environ, **(env or {})}.items()}
    server = _server()
    if _at_start(environment) != server.at_start:
        return subprocess.run(
            [PYTHON, *(() if module == CODE else ("-m",)), module, *arguments],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env=environment,
            timeout=timeout,
            check=False,
        )
    request = {
        "module": module,
        "arguments": list(arguments),
        "env": environment,
        "cwd": os.fsencode(cwd or Path.cwd()),
        "streams": [0, 1, 2],
        **({} if memory is None else {"memory": memory}),
        "ignored": [n for n in _forwarded() if signal.getsignal(n) is signal.SIG_IGN],
    }
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(timeout)
        heavy = " ".join([module, *arguments]).startswith(HEAVY)
        connection.connect(str(server.folder / ("heavy" if heavy else "light")))
        inputs, outputs, errors = (os.pipe() for _ in range(3))
        _send(connection, request, [inputs[0], outputs[1], errors[1]])
        for number in (inputs[0], outputs[1], errors[1]):
            os.close(number)
        try:
            output, error = _communicate(inputs[1], outputs[0], errors[0], stdin, timeout)
            status = STATUS.unpack(connection.recv(STATUS.size, socket.MSG_WAITALL))[0]
        except TimeoutError:
            raise subprocess.TimeoutExpired(arguments, timeout or 0) from None
    return subprocess.CompletedProcess([module, *arguments], status, output, error)


def _communicate(
    stdin: int, stdout: int, stderr: int, data: bytes, timeout: float | None
) -> tuple[bytes, bytes]:
    """Write and read pipes to their ends, and close them."""
    read: dict[int, list[bytes]] = {stdout: [], stderr: []}
    with selectors.DefaultSelector() as selector:
        os.set_blocking(stdin, False)
        selector.register(stdin, selectors.EVENT_WRITE)
        for pipe in read:
            selector.register(pipe, selectors.EVENT_READ)
        try:
            while selector.get_map():
                events = selector.select(timeout)
                if not events:
                    raise TimeoutError
                for key, _ in events:
                    if key.fd == stdin:
                        with contextlib.suppress(BrokenPipeError):
                            data = data[os.write(stdin, data[:65536]) :]
                            if data:
                                continue
                    elif piece := os.read(key.fd, 65536):
                        read[key.fd].append(piece)
                        continue
                    selector.unregister(key.fd)
                    os.close(key.fd)
        finally:
            for key in list(selector.get_map().values()):
                os.close(key.fd)
    return b"".join(read[stdout]), b"".join(read[stderr])


def _send(connection: socket.socket, request: dict[str, Any], streams: list[int]) -> None:
    data = marshal.dumps(request)
    socket.send_fds(connection, [LENGTH.pack(len(data))], streams)
    connection.sendall(data)


def _at_start(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    prefixes = tuple(os.fsencode(prefix) for prefix in AT_START)
    return {name: value for name, value in environment.items() if name.startswith(prefixes)}


def _forwarded() -> list[int]:
    return [int(getattr(signal, name)) for name in FORWARDED]


class _Server:
    """The server as this process sees it; it ends when this process does.

    Attributes:
        folder: of its socket, the program `python` and its log.
        at_start: the variables that a fork can't have otherwise.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sqgen-"))
        self.at_start = _at_start(os.environb)
        client = self.folder / "python"
        client.write_text(
            CLIENT.format(
                python=PYTHON,
                folder=str(self.folder),
                heavy=HEAVY,
                programs=PROGRAMS,
                at_start=tuple(os.fsencode(prefix) for prefix in AT_START),
                environment=self.at_start,
                forwarded=_forwarded(),
                modules=MODULES,
            )
        )
        client.chmod(0o755)
        for name in PROGRAMS:
            (self.folder / name).symlink_to(client)
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [PYTHON, __file__, str(self.folder), *SHARED],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        assert ready, (self.folder / "log").read_text()
        atexit.register(self.close)

    def close(self) -> None:
        """End it, and whatever it runs."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def _server() -> _Server:
    return _Server()


# The server


class _Forks:
    """Takes requests, forks for each, passes signals on and tells how the forks end."""

    def __init__(self, listener: socket.socket, program: str) -> None:
        self._listener = listener
        self._program = program
        self._heavy: socket.socket | None = None
        self._other = 0
        self._running: dict[int, socket.socket] = {}
        self._ended, self._wakes = socket.socketpair()
        for end in (self._ended, self._wakes):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        for thing in (0, self._listener, self._ended):
            self._selector.register(thing, selectors.EVENT_READ)

    def fork_at_first(self, heavy: socket.socket) -> None:
        """Become two when somebody first connects to `heavy`: the other one serves that."""
        self._heavy = heavy
        self._selector.register(heavy, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until standard input ends."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._heavy:
                    self._divide(self._heavy)
                elif key.fileobj is self._ended:
                    self._ended.recv(4096)
                    self._collect()
                elif key.fileobj == 0:
                    return self._end()
                else:
                    self._pass_on(key.data)

    def _divide(self, heavy: socket.socket) -> None:
        self._selector.unregister(heavy)
        self._heavy = None
        self._other = os.fork()
        if self._other == 0:
            self._close()
            load(HEAVY_ROOMS.split(), HEAVY_MODULES)
            use_large_pages()
            _Forks(heavy, self._program).serve()
            os._exit(0)
        heavy.close()

    def _close(self) -> None:
        """In a fork: let go of what is the server's."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        ours = (self._listener, self._ended, self._wakes, self._heavy, *self._running.values())
        for thing in ours:
            if thing is not None:
                thing.close()

    def _end(self) -> None:
        for number in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for number in filter(None, [*self._running, self._other]):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(number, 0)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        head, streams, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
        data = connection.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL) if head else b""
        if not data:
            connection.close()
            return
        request = marshal.loads(data)
        number = os.fork()
        if number == 0:
            connection.close()
            self._become(request, streams)
        for stream in streams:
            os.close(stream)
        self._running[number] = connection
        self._selector.register(connection, selectors.EVENT_READ, number)

    def _pass_on(self, number: int) -> None:
        """Signals, a byte each; the end of whoever asked for the fork is that of the fork."""
        data = self._running[number].recv(100)
        for signal_number in data or [signal.SIGKILL]:
            os.kill(number, signal_number)
        if not data:
            self._selector.unregister(self._running[number])

    def _collect(self) -> None:
        while self._running:
            number, status = os.waitpid(-1, os.WNOHANG)
            if number == 0:
                return
            if number not in self._running:  # the other server
                continue
            connection = self._running.pop(number)
            with contextlib.suppress(OSError):
                connection.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            connection.close()

    def _become(self, request: dict[str, Any], streams: list[int]) -> NoReturn:
        """In the fork: be the process that was asked for."""
        code = 70
        try:
            self._close()
            become(request, streams, self._program)
            code = run_main(request["module"])
        finally:
            os._exit(code)


def load(rooms: Sequence[str], others: Sequence[str] = ()) -> None:
    """Import all modules of rooms, what they import, and others; extras may be missing."""
    names = list(others)
    with _only_ours_at_exit():
        for room in rooms:
            folder = importlib.import_module(f"sqgen.{room}").__path__
            names += [module.name for module in pkgutil.iter_modules(folder, f"sqgen.{room}.")]
        for name in names:
            if not name.endswith("__main__"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _only_ours_at_exit() -> Iterator[None]:
    """Forget what libraries would do at the exit of each fork: free memory, for up to 50 ms."""
    register = atexit.register

    def register_ours(function: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        name = getattr(function, "__module__", None) or ""
        if name.startswith(("sqgen.", "weakref")):
            register(function, *args, **kwargs)
        return function

    atexit.register = register_ours  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = register
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]


def use_large_pages() -> None:
    """Keep memory in pages of 2 MiB, where Linux can (6.1): a fork copies the table of all pages.

    With PyTorch, that of its small ones takes 10 ms more.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in maps.read_text().splitlines():
        if found := re.match(r"(\w+)-(\w+) rw-p 0+ 00:00 0 *(\[heap\])?$", line):
            first, end = (int(address, 16) for address in found.groups()[:2])
            first += -first % LARGE_PAGE
            end -= end % LARGE_PAGE
            if first < end:
                advise(first, end - first, COLLAPSE)


def become(request: dict[str, Any], streams: list[int], program: str) -> None:
    """Take the streams, folder, environment, limits and arguments of the one who asked."""
    os.setsid()
    for number in range(3):
        if number not in request["streams"]:
            os.close(number)
    for number, stream in zip(request["streams"], streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    _take_environment(request["env"])
    if "umask" in request:
        os.umask(request["umask"])
    if "limits" in request:
        _take_limits(request["limits"])
    if "memory" in request:
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # of data, so far
        limit = pages * resource.getpagesize() + request["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    # As an interpreter sets them when it starts.
    sys.path[:1] = [] if request.get("safe") else [str(Path.cwd())]
    sys.argv = [sys.argv[0], *request["arguments"]]
    sys.executable = program
    tempfile.tempdir = None
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        there = number in request["streams"]
        setattr(sys, name, _stream(number, name) if there else None)
        setattr(sys, f"__{name}__", getattr(sys, name))


def _take_environment(env: Mapping[bytes, bytes]) -> None:
    """Change what differs: each variable that is set is a page or two that a fork copies."""
    for name in os.environb.keys() - env.keys():
        del os.environb[name]
    for name, value in env.items() - os.environb.items():
        os.environb[name] = value


def _take_limits(number: int) -> None:
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            limit = getattr(resource, name)
            with contextlib.suppress(AttributeError, OSError, ValueError):  # prlimit is of Linux
                resource.setrlimit(limit, resource.prlimit(number, limit))


def _stream(number: int, name: str) -> TextIO:
    """A standard stream, as Python opens it."""
    old = getattr(sys, name)
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    raw.name = f"<{name}>"
    return io.TextIOWrapper(
        io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw),
        old.encoding,
        old.errors,
        newline=None if number == 0 else "\n",
        line_buffering=number == 2 or raw.isatty(),
    )


def run_main(module: str) -> int:
    """Run a module or code as `python` does, and what comes at its end; return the exit code."""
    code = 0
    try:
        if module == CODE:
            exec(sys.argv.pop(1), {"__name__": "__main__"})
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = _exit_code(error)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as error:
            if stream is sys.stdout:
                os.write(2, f"Exception ignored: {error!r}\n".encode())
                code = 120
    return code


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    return listener


def main() -> None:
    """Serve until standard input ends."""
    folder, *shared = map(Path, sys.argv[1:])
    sys.modules["torch"] = None  # type: ignore[assignment]  # its imports fail
    load(ROOMS.split(), LIGHT_MODULES)
    del sys.modules["torch"]
    for place in shared:
        importlib.import_module("sqgen.tests.made_once").share(place)
    forks = _Forks(_listen(folder / "light"), str(folder / "python"))
    forks.fork_at_first(_listen(folder / "heavy"))
    os.write(1, b"ready\n")
    forks.serve()


if __name__ == "__main__":
    main()

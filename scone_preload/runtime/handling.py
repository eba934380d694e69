"""Runs the user's handlers (scone_preload.handlers): in threads, each with its time, and closed when they fail.

A question waits for a worker of the pool. Whoever comes first, the worker with an answer or `expire` with the time that
has run out, settles the question; the other one finds it settled.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import CodeType, ModuleType

from scone_preload.errors import UserError
from scone_preload.handlers import NAMES, Answer, Call, Handler

WORKERS_MAX = 64
MODULE = "scone_handlers"
Settle = Callable[[Answer | bytes | None, str], None]  # the answer, or why there is none


class Question:
    """One call that handlers are asked about."""

    def __init__(self, call: Call, handlers: Sequence[Handler], settle: Settle, deadline: float) -> None:
        self.call = call
        self.handlers = handlers
        self.deadline = deadline
        self.worker = 0
        self._settle: Settle | None = settle
        self._lock = threading.Lock()

    @property
    def is_settled(self) -> bool:
        return self._settle is None

    def settle(self, answer: Answer | bytes | None, trouble: str = "") -> None:
        """Answer it, unless that was done."""
        with self._lock:
            settle, self._settle = self._settle, None
        if settle is not None:
            settle(answer, trouble)


class Handling:
    """The handlers of one file, and the calls that they are asked about now."""

    def __init__(self, handlers: Sequence[tuple[Handler, frozenset[str]]], timeout_s: float) -> None:
        self._handlers = tuple(handlers)
        self._timeout_s = timeout_s
        self._open: list[Question] = []
        self._pool = ThreadPoolExecutor(WORKERS_MAX, thread_name_prefix="handler")

    def for_call(self, name: str) -> tuple[Handler, ...]:
        """Return the handlers of calls of this name, as they stand in the file."""
        return tuple(handler for handler, names in self._handlers if name in names or "*" in names)

    def ask(self, call: Call, settle: Settle) -> None:
        """Ask the call's handlers; `settle` is called with what they say, from another thread."""
        question = Question(call, self.for_call(call.name), settle, time.monotonic() + self._timeout_s)
        self._open = [one for one in self._open if not one.is_settled]
        self._open.append(question)
        self._pool.submit(run, question).add_done_callback(lambda done: _settled(question, done))

    def expire(self) -> float | None:
        """Settle the questions whose time has run out; return the seconds to the next one's end, None: none waits."""
        now = time.monotonic()
        waits = []
        for question in self._open:
            if question.is_settled:
                continue
            if question.deadline <= now:
                question.settle(None, f"no answer in {self._timeout_s:g} s: it is {where_thread(question.worker)}")
            else:
                waits.append(question.deadline - now)
        return min(waits, default=None)


def run(question: Question) -> Answer | bytes | None:
    """Return the first answer of the question's handlers that is one; raises what they raise."""
    question.worker = threading.get_ident()
    pid = os.getpid()
    try:
        for handler in question.handlers:
            answer = handler(question.call)
            if answer is not None:
                return answer
        return None
    finally:
        if os.getpid() != pid:  # the handler has forked, and this is the child: the parent answers
            os._exit(0)


def _settled(question: Question, done: Future[Answer | bytes | None]) -> None:
    error = done.exception()
    if error is None:
        question.settle(done.result())
    else:
        question.settle(None, words(error))


def words(error: BaseException) -> str:
    """Return where a handler failed, and how."""
    return f"{where_error(error)}: {type(error).__name__}: {error}"


def where_error(error: BaseException) -> str:
    """Return `file:line in function` of the innermost frame of the user's file."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((one for one in reversed(frames) if _is_own(one.filename)), frames[-1])
    return f"{frame.filename}:{frame.lineno} in {frame.name}"


def where_thread(ident: int) -> str:
    """Return where a thread is now, in the user's file if it is called from there."""
    frame = sys._current_frames().get(ident)
    inner = frame
    while frame is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    found = frame or inner
    return f"at {found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_name}" if found else "not begun"


def _is_own(path: str) -> bool:
    module = sys.modules.get(MODULE)
    return module is not None and path == module.__file__


def check_handlers(path: str) -> None:
    """Raise UserError for a file that can't be read or is no Python; nothing of it is run."""
    _compiled(path)


def _compiled(path: str) -> CodeType:
    """The file's code, from its text: bytecode beside it could be anybody's, or old."""
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec")
    except (OSError, SyntaxError, ValueError) as error:
        where = str(error.strerror) if isinstance(error, OSError) else str(error)
        where = words(error) if isinstance(error, SyntaxError) else where
        raise UserError("handlers can't be loaded", path, where) from error


def load_handlers(path: str) -> list[tuple[Handler, frozenset[str]]]:
    """Return the handlers that a file defines, in order, with the calls of each; raises UserError."""
    module = _module(path)
    found = []
    for value in vars(module).values():
        names = getattr(value, NAMES, None)
        if callable(value) and names:
            found.append((value, frozenset(names)))
    if not found:
        raise UserError("no handler in the file", path, "mark a function with @handles(...); see examples/handlers")
    return found


def never_asked(
    handlers: Sequence[tuple[Handler, frozenset[str]]], routes: Sequence[tuple[str, str]]
) -> list[tuple[str, ...]]:
    """Return the calls of each handler that none of `routes`, (call, route), leads to."""
    asked = {name for name, route in routes if route == "runtime"}
    everything = {"*"}
    return [
        tuple(sorted(names))
        for _, names in handlers
        if not asked & (names | everything) and not (asked and everything & names)
    ]


def _module(path: str) -> ModuleType:
    code = _compiled(path)
    module = ModuleType(MODULE)
    module.__file__ = path
    sys.modules[MODULE] = module
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(exec, code, module.__dict__).exception()
    if error is not None:
        raise UserError("handlers can't be loaded", path, words(error)) from error
    return module

"""Many addresses asked at once, each host gently.

One thread decides what is asked when, others ask, and none of them sleeps: an address that is to be asked again waits
in a heap, and a host that wants to be left alone (429 and 503 with `Retry-After`) holds up no other.
"""

import heapq
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pixmo.export.fetching import FetchOptions, Link, NoImage, Status

WINDOW = 4096
"""Addresses read ahead, so that one slow host in a row does not leave the others idle."""

T = TypeVar("T")


@dataclass(slots=True)
class _Host:
    waiting: "deque[_Job]" = field(default_factory=deque)
    active: int = 0
    quiet_until: float = 0.0
    silent: int = 0
    """Requests in a row without any answer."""
    listed: bool = False


@dataclass(slots=True)
class _Job:
    link: Link
    host: _Host
    asked: int = 0


class Rounds(Generic[T]):
    """Asks for links until each has a result.

    `attempt(link, n)` runs in a thread, for the n-th time (from 0), and returns a result or raises `NoImage`;
    `refused(link, error)` makes a result of the last `NoImage`. Anything else that is raised ends the run.
    """

    def __init__(
        self, attempt: Callable[[Link, int], T], refused: Callable[[Link, NoImage], T], options: FetchOptions
    ) -> None:
        self._attempt = attempt
        self._refused = refused
        self._options = options
        self._hosts: dict[str, _Host] = {}
        self._ready: deque[_Host] = deque()
        self._later: list[tuple[float, int, _Host, _Job | None]] = []
        self._held = 0
        self._in_flight = 0
        self._count = 0
        self._threads: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[_Job, T | BaseException]] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def run(self, links: Iterable[Link]) -> Generator[list[T], None, None]:
        """Results as they come, in lists of those that came at once. To be closed, or run to its end."""
        source = iter(links)
        try:
            while True:
                self._fill(source)
                done = self._start()
                if self._in_flight or self._later:
                    done += self._collect(wait=not done)
                if done:
                    yield done
                elif not self._held:
                    return
        finally:
            self._stop()

    def _fill(self, source: Iterator[Link]) -> None:
        while self._held < WINDOW:
            link = next(source, None)
            if link is None:
                return
            host = self._hosts.setdefault(link.host, _Host())
            host.waiting.append(_Job(link, host))
            self._held += 1
            self._list(host)

    def _list(self, host: _Host) -> None:
        if host.waiting and not host.listed and host.active < max(1, self._options.per_host):
            host.listed = True
            self._ready.append(host)

    def _start(self) -> list[T]:
        """Hand to the threads what may be asked now; the results of hosts that are given up."""
        done: list[T] = []
        moment = time.monotonic()
        while self._later and self._later[0][0] <= moment:
            _, _, host, job = heapq.heappop(self._later)
            if job is not None:
                host.waiting.appendleft(job)
            else:
                host.listed = False
            self._list(host)
        while self._ready and self._in_flight < max(1, self._options.concurrency):
            host = self._ready.popleft()
            pause = host.quiet_until - moment
            if 0 < pause <= self._options.longest_wait:
                self._postpone(host.quiet_until, host, None)
                continue
            host.listed = False
            if pause > 0:
                done += self._give_up(host, pause)
                continue
            self._hand_over(host.waiting.popleft())
            self._list(host)
        return done

    def _hand_over(self, job: _Job) -> None:
        job.asked += 1
        job.host.active += 1
        self._in_flight += 1
        if len(self._threads) < self._in_flight:
            self._threads.append(threading.Thread(target=self._work, name="links", daemon=True))
            self._threads[-1].start()
        self._jobs.put(job)

    def _give_up(self, host: _Host, pause: float) -> list[T]:
        jobs = list(host.waiting)
        host.waiting.clear()
        self._held -= len(jobs)
        why = f"wants to be left alone for {pause:.0f} s"
        if math.isinf(pause):
            why = f"gave no answer to {self._options.host_failures} requests in a row"
        problem = NoImage(Status.UNREACHABLE, f"not asked: its host {why}")
        return [self._refused(job.link, problem) for job in jobs]

    def _postpone(self, due: float, host: _Host, job: _Job | None) -> None:
        self._count += 1  # hosts and jobs have no order
        heapq.heappush(self._later, (due, self._count, host, job))

    def _collect(self, *, wait: bool) -> list[T]:
        """What the threads have finished; with `wait`, not before something is, or is due."""
        pause = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
        done: list[T] = []
        try:
            job, outcome = self._results.get(block=wait, timeout=pause)
            while True:
                done += self._settle(job, outcome)
                job, outcome = self._results.get_nowait()
        except queue.Empty:
            return done

    def _settle(self, job: _Job, outcome: T | BaseException) -> list[T]:
        host = job.host
        self._in_flight -= 1
        host.active -= 1
        mute = isinstance(outcome, NoImage) and outcome.again and outcome.http_status is None
        host.silent = host.silent + 1 if mute else 0
        if host.silent >= self._options.host_failures:
            host.quiet_until = math.inf  # else each address of a dead host would wait for its timeouts
        if isinstance(outcome, NoImage):
            moment = time.monotonic()
            if outcome.wait:
                host.quiet_until = max(host.quiet_until, moment + outcome.wait)
            if outcome.again and job.asked <= self._options.retries and outcome.wait <= self._options.longest_wait:
                pause = max(outcome.wait, self._options.backoff * 2 ** (job.asked - 1))
                self._postpone(moment + min(pause, self._options.longest_wait), host, job)
                self._list(host)
                return []
            outcome = self._refused(job.link, outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        self._held -= 1
        self._list(host)
        if len(self._hosts) > 2 * WINDOW:
            self._forget_hosts()
        return [outcome]

    def _forget_hosts(self) -> None:
        moment = time.monotonic()
        pending = {id(host) for _, _, host, _ in self._later}
        self._hosts = {
            name: host
            for name, host in self._hosts.items()
            if host.waiting or host.active or host.quiet_until > moment or id(host) in pending
        }

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            if self._stopped.is_set():
                continue
            try:
                outcome: T | BaseException = self._attempt(job.link, job.asked - 1)
            except BaseException as error:  # it belongs to the thread that runs the rounds
                outcome = error
            self._results.put((job, outcome))

    def _stop(self) -> None:
        """End the threads. One that hangs in a request is not waited for: it has nothing left to write to."""
        self._stopped.set()
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + 1
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

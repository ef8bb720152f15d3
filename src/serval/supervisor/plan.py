"""What to do about the children: spawn, stop, kill, give up.  Pure: no clock, no fork, no log.

`loop.py` tells what has happened and carries out what comes back, in order; `now` is monotonic
seconds.  A `Spawn` is always the last action of its list and must be answered at once with
`spawned` or `not_spawned`.
"""

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import Final

from serval.errors import ExitStatus
from serval.outlook import Outlook, ServerState
from serval.scoreboard import WorkerState
from serval.supervisor.actions import (
    Action,
    Finish,
    Level,
    Order,
    Say,
    Settings,
    Spawn,
    Tell,
    Unlisten,
    Wish,
)
from serval.supervisor.backoff import WINDOW_SECONDS, Backoff
from serval.supervisor.child import NEXT, VERDICTS, Child, Death, Phase, Verdict, obituary
from serval.supervisor.stages import ESCALATION, NOTICES, Stage

SLACK_SECONDS: Final = 0.75  # a worker keeps its deadlines itself; a kill within a second of them
BOOT_FAILURE_SECONDS: Final = 1.5  # nobody has been served: the error should be seen at once
HUNG_SECONDS: Final = 5.0  # from asking a hung worker to stop to killing it

_ALIVE: Final = (Phase.BOOTING, Phase.READY, Phase.RETIRING, Phase.OVERDUE, Phase.HUNG)
_SERVING: Final = (Phase.READY, Phase.RETIRING)


@dataclass(frozen=True, slots=True)
class _Era:
    """One reading of the configuration: its number, what it says, how many workers are wanted."""

    generation: int
    settings: Settings
    target: int


class Plan:
    """The one place that decides about the life and death of children.

    Every method but the properties returns the actions to carry out.

    Attributes:
        slot_count: How many children may exist at once, those that are stopping included.
    """

    def __init__(self, settings: Settings, *, slot_count: int) -> None:
        self.slot_count = slot_count
        self._settings = settings
        self._target = settings.workers
        self._generation = self._newest_generation = 1
        self._fallback: _Era | None = None  # where a reload goes back to if its generation fails
        self._children: dict[int, Child] = {}  # by slot
        self._backoff = Backoff()
        self._held_until = 0.0  # no fork before that; 0.0 where nothing holds it up
        self._began_at = 0.0
        self._progress = ServerState.BOOTING
        self._stage = Stage.RUNNING
        self._status = ExitStatus.OK
        self._exits: Counter[str] = Counter()
        self._actions: list[Action] = []

    @property
    def children(self) -> tuple[Child, ...]:
        """Every child that has not been reaped yet."""
        return tuple(self._children.values())

    @property
    def generations(self) -> set[int]:
        """Those that a child is of, or may yet be."""
        found = {child.generation for child in self._children.values()} | {self._generation}
        return found | {self._fallback.generation} if self._fallback else found

    @property
    def deadline(self) -> float:
        """When `tick` has something to do though nothing happens; infinity for never."""
        return min([self._held_until or inf, *(c.due_at for c in self._children.values())])

    def outlook(self, *, reloads: int) -> Outlook:
        """How far the server is; `reloads` is how often that was asked for, in vain or not."""
        return Outlook(
            state=self._progress if self._stage is Stage.RUNNING else ServerState.STOPPING,
            generation=self._generation,
            workers_wanted=self._target,
            workers_limit=max(self.slot_count // 2, 1),
            reloads=reloads,
            exits=dict(self._exits),
        )

    # --- what has happened --------------------------------------------------------------------

    def start(self, now: float) -> list[Action]:
        """Begin."""
        self._began_at = now
        return self._settle(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if now >= self._held_until:
            self._held_until = 0.0
        for child in self._children.values():
            if child.due_at <= now:
                self._lose_patience(child, now)
        return self._settle(now)

    def spawned(self, index: int, pid: int, now: float) -> list[Action]:
        """A `Spawn` has been carried out."""
        self._children[index].pid = pid
        return self._settle(now)

    def not_spawned(self, index: int, reason: str, now: float) -> list[Action]:
        """A `Spawn` could not be carried out."""
        child = self._children.pop(index)
        self._say("error", f"cannot fork a worker: {reason}")
        self._judge_failed_boot(child, now)
        return self._settle(now)

    def seen(self, index: int, state: WorkerState, now: float) -> list[Action]:
        """A child says how far it is; saying the same twice changes nothing."""
        child = self._children[index]
        if (phase := NEXT.get((child.phase, state))) is not None:
            before, child.phase = child.phase, phase
            self._advance(child, before, now)
        return self._settle(now)

    def beat(self, index: int, at: float) -> None:
        """A child's event loop turned at that moment."""
        child = self._children[index]
        if child.phase in _SERVING:
            child.due_at = at + (self._settings.heartbeat_seconds or inf)

    def exited(self, death: Death, now: float) -> list[Action]:
        """A process has been reaped; one that is no child of ours (an orphan) is nothing to us."""
        child = next((c for c in self._children.values() if c.pid == death.pid), None)
        if child is None:
            return []
        del self._children[child.index]
        verdict = VERDICTS[child.phase]
        self._exits[verdict.name.lower()] += 1
        self._say(self._gravity(verdict, death), obituary(child, death, now))
        if self._stage is not Stage.RUNNING:
            self._note_status(verdict, death)
        elif verdict is Verdict.FAILED_BOOT:
            self._judge_failed_boot(child, now)
        elif verdict is Verdict.CRASH:
            self._note_death(now, counts=True)
        return self._settle(now)

    def wished(self, wish: Wish, now: float) -> list[Action]:
        """The operator has sent a signal."""
        if (stage := ESCALATION.get((self._stage, wish))) is not None:
            self._stop_all(stage, now)
            self._say("info", NOTICES[stage].format(self._settings.graceful_seconds))
        elif self._stage is Stage.RUNNING:
            self._resize(self._target + (1 if wish is Wish.MORE else -1))
        return self._settle(now)

    def scale(self, workers: int, now: float) -> list[Action]:
        """The operator wants so many workers."""
        if self._stage is Stage.RUNNING:
            self._resize(workers)
        return self._settle(now)

    def reload(self, settings: Settings, now: float) -> list[Action]:
        """The configuration was read anew: replace every child, one after the other."""
        if self._stage is not Stage.RUNNING:
            return []
        if self._fallback is None:
            self._fallback = _Era(self._generation, self._settings, self._target)
        if settings.workers != self._settings.workers:
            self._target = settings.workers
        self._settings = settings
        self._newest_generation += 1
        self._generation = self._newest_generation
        if self._progress is ServerState.RUNNING:
            self._progress = ServerState.RELOADING
        self._say("info", f"reloading: generation {self._generation} replaces the workers")
        return self._settle(now)

    # --- children -----------------------------------------------------------------------------

    def _advance(self, child: Child, before: Phase, now: float) -> None:
        """A child has got further by its own account."""
        settings = self._settings
        match child.phase:
            case Phase.READY | Phase.RETIRING:
                child.due_at = now + (settings.heartbeat_seconds or inf)
                if child.generation == self._generation:
                    self._fallback = None
                if before is Phase.BOOTING and self._progress is not ServerState.BOOTING:
                    self._say("info", f"{child} is ready after {now - child.started_at:.1f} s")
                if child.phase is Phase.RETIRING:
                    self._say("info", f"{child} asks to be replaced")
            case Phase.STOPPING:
                child.due_at = now + settings.graceful_seconds + SLACK_SECONDS
                self._say("info", f"{child} stops by itself")
            case _:  # CLOSING
                child.due_at = now + settings.closing_seconds + SLACK_SECONDS

    def _lose_patience(self, child: Child, now: float) -> None:
        """A child's time is up."""
        child.due_at = inf
        settings = self._settings
        match child.phase:
            case Phase.BOOTING:
                self._say(
                    "error",
                    f"{child} is not ready after {settings.startup_seconds:g} s "
                    "(timeout_startup): killing it",
                )
                child.phase = Phase.OVERDUE
                self._tell(child, Order.KILL)
            case Phase.READY | Phase.RETIRING:
                self._say(
                    "error",
                    f"{child} is hung: no heartbeat for {settings.heartbeat_seconds:g} s; "
                    f"it dumps its stacks and is killed in {HUNG_SECONDS:g} s",
                )
                child.phase = Phase.HUNG
                child.due_at = now + HUNG_SECONDS
                self._tell(child, Order.DUMP)
                self._tell(child, Order.STOP)
            case _:  # HUNG, STOPPING, CLOSING
                self._say("warning", f"{child} does not stop in time: killing it")
                if child.phase is not Phase.HUNG:
                    child.phase = Phase.KILLED
                self._tell(child, Order.KILL)

    def _spawn(self, now: float) -> None:
        """Ask for one child, if a slot is free and no death is too recent."""
        index = next((i for i in range(self.slot_count) if i not in self._children), None)
        if index is None or now < self._held_until:
            return
        startup = self._settings.startup_seconds
        self._children[index] = Child(
            index,
            self._generation,
            first=self._progress is ServerState.BOOTING,
            started_at=now,
            due_at=now + startup + SLACK_SECONDS if startup else inf,
        )
        self._actions.append(Spawn(index, self._generation))

    def _stop(self, child: Child, now: float) -> None:
        child.phase = Phase.STOPPING
        child.due_at = now + self._settings.graceful_seconds + SLACK_SECONDS
        self._tell(child, Order.STOP)

    # --- deaths -------------------------------------------------------------------------------

    def _judge_failed_boot(self, child: Child, now: float) -> None:
        if child.first:
            self._say("error", "giving up: the application does not start")
            self._status = ExitStatus.BOOT
            self._stop_all(Stage.QUICK, now, seconds=BOOT_FAILURE_SECONDS)
        elif child.generation != self._generation:
            pass  # superseded while it booted
        elif self._fallback is not None:
            self._abandon_reload(self._fallback)
        else:
            # While others serve, a replacement that fails is no reason to end them.
            serving = any(c.phase in _SERVING for c in self._children.values())
            self._note_death(now, counts=not serving)

    def _abandon_reload(self, fallback: _Era) -> None:
        self._say(
            "error",
            f"reload failed: generation {self._generation} does not start, generation "
            f"{fallback.generation} goes on serving; mend it and send SIGHUP again",
        )
        self._generation, self._target = fallback.generation, fallback.target
        self._settings = fallback.settings
        self._fallback = None
        self._progress = ServerState.RUNNING

    def _note_death(self, now: float, *, counts: bool) -> None:
        """Give up when children die too often, else make the next fork wait."""
        counted = self._backoff.note(now, counts=counts)
        if 0 < self._settings.crash_limit < counted:
            self._say(
                "error",
                f"giving up: {counted} workers died within {WINDOW_SECONDS:g} s, "
                f"more than {self._settings.crash_limit}",
            )
            self._status = ExitStatus.CRASH_LOOP
            self._stop_all(Stage.GRACEFUL, now)
            return
        self._held_until = now + self._backoff.delay_seconds

    def _gravity(self, verdict: Verdict, death: Death) -> Level:
        """How loud a death is: one that was asked for is no news."""
        if self._stage is Stage.ENDING or (verdict is Verdict.STOPPED and death.is_clean):
            return "debug"
        # The first failure to boot has been told; its siblings failed for the same reason.
        boot_failed = self._status is ExitStatus.BOOT and death.status == ExitStatus.BOOT
        return "debug" if boot_failed else "error"

    def _note_status(self, verdict: Verdict, death: Death) -> None:
        """A death while everything stops: did the application's shutdown succeed?"""
        booting = verdict is Verdict.FAILED_BOOT or death.status == ExitStatus.BOOT
        if self._status is ExitStatus.OK and self._stage is not Stage.ENDING:
            self._status = ExitStatus.OK if booting or death.is_clean else ExitStatus.SHUTDOWN

    # --- all of them --------------------------------------------------------------------------

    def _stop_all(self, stage: Stage, now: float, *, seconds: float = 0.0) -> None:
        """Enter a stage of stopping.

        Args:
            seconds: How long a quick stop may take, instead of what the settings say.
        """
        if self._stage is Stage.RUNNING:
            self._actions.append(Unlisten())
        self._stage = stage
        self._held_until = 0.0
        children = [
            c for c in self._children.values() if c.phase not in (Phase.OVERDUE, Phase.KILLED)
        ]
        match stage:
            case Stage.GRACEFUL:
                for child in children:
                    if child.phase in (Phase.BOOTING, *_SERVING):
                        self._stop(child, now)
            case Stage.QUICK:
                limit = now + (seconds or self._settings.closing_seconds + SLACK_SECONDS)
                for child in children:
                    if child.phase is not Phase.CLOSING:
                        child.phase = Phase.STOPPING
                    child.due_at = min(child.due_at, limit)
                    # Not a second SIGTERM: a service manager may send one to the whole group
                    # beside the parent's, and that must not shorten anything.
                    self._tell(child, Order.QUIT)
            case _:  # ENDING
                for child in children:
                    child.phase = Phase.KILLED
                    child.due_at = inf
                    self._tell(child, Order.KILL)

    def _resize(self, wanted: int) -> None:
        # Twice the slots, so that every worker could be in replacement.
        self._target = min(max(wanted, 1), max(self.slot_count // 2, 1))
        self._say("info", f"{_workers(self._target)} wanted")

    def _settle(self, now: float) -> list[Action]:
        """Bring children and target together; hand out the actions."""
        if self._stage is Stage.RUNNING:
            self._balance(now)
        elif not self._children:
            self._actions.append(Finish(self._status))
        actions, self._actions = self._actions, []
        return actions

    def _balance(self, now: float) -> None:
        """One step towards as many children as wanted, all of this generation."""
        alive = [c for c in self._children.values() if c.phase in _ALIVE]
        if len(alive) < self._target:
            self._spawn(now)
            return
        if any(c.phase not in _SERVING for c in alive):
            return  # one thing after the other
        self._announce_start(now)
        surplus = len(alive) - self._target
        if surplus:
            for child in sorted(alive, key=self._usefulness)[:surplus]:
                self._stop(child, now)
        elif len(alive) == len(self._children):  # nobody is still leaving
            if any(map(self._is_outdated, alive)):
                self._spawn(now)
            elif self._progress is ServerState.RELOADING:
                self._progress = ServerState.RUNNING
                count = _workers(len(alive))
                self._say("info", f"reloaded: {count} of generation {self._generation}")

    def _announce_start(self, now: float) -> None:
        if self._progress is ServerState.BOOTING:
            behind = any(c.generation != self._generation for c in self._children.values())
            self._progress = ServerState.RELOADING if behind else ServerState.RUNNING
            count = _workers(len(self._children))
            self._say("info", f"ready: {count} after {now - self._began_at:.2f} s")

    def _is_outdated(self, child: Child) -> bool:
        return child.phase is Phase.RETIRING or child.generation != self._generation

    def _usefulness(self, child: Child) -> tuple[bool, float]:
        """The lowest is stopped first: an outdated child, else the youngest."""
        return not self._is_outdated(child), -child.started_at

    def _tell(self, child: Child, order: Order) -> None:
        self._actions.append(Tell(child.pid, order))

    def _say(self, level: Level, text: str) -> None:
        self._actions.append(Say(level, text))


def _workers(count: int) -> str:
    return f"{count} worker" if count == 1 else f"{count} workers"

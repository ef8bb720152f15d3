"""What to do about the children: spawn, stop, kill, give up.  Pure: no clock, no fork, no log.

`loop.py` tells what has happened and carries out what comes back, in order; `now` is monotonic
seconds.  A `Spawn` is always the last action of its list and must be answered at once with
`spawned` or `not_spawned`.
"""

from collections import Counter
from math import inf
from typing import Final

from serval.errors import ExitStatus
from serval.outlook import Outlook, ServerState
from serval.scoreboard import WorkerState
from serval.supervisor.actions import (
    Action,
    Era,
    Finish,
    Level,
    Order,
    Replacement,
    Say,
    Settings,
    Spawn,
    Tell,
    Unlisten,
    Wish,
    counted_workers,
)
from serval.supervisor.backoff import WINDOW_SECONDS, Backoff
from serval.supervisor.child import NEXT, VERDICTS, Child, Death, Phase, Verdict, obituary
from serval.supervisor.patience import SLACK_SECONDS, due_at, lost, spare_sleepers
from serval.supervisor.stages import ALIVE, ESCALATION, LISTENING, ORDERS, SERVING, Stage, notice

BOOT_FAILURE_SECONDS: Final = 1.5  # nobody has been served: the error should be seen at once


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
        self._fallback: Era | None = None  # where a reload goes back to if its generation fails
        self._children: dict[int, Child] = {}  # by slot
        self._backoff = Backoff()
        self._held_until = 0.0  # no fork before that; 0.0 where nothing holds it up
        self._leaving_until = inf
        self._began_at = 0.0
        self._stop_asked_at = inf  # by the operator
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
        patience = (child.due_at for child in self._children.values())
        return min([self._held_until or inf, self._leaving_until, *patience])

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
        spare_sleepers(self._serving(), now - self.deadline, now)
        if now >= self._held_until:
            self._held_until = 0.0
        if now >= self._leaving_until:
            self._stop_for(Stage.GRACEFUL, now)
        for child in self._children.values():
            if child.due_at <= now:
                self._actions += lost(child, self._settings, now)
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
        if child.phase in SERVING:
            child.due_at = due_at(child, self._settings, at)

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
            self._stop_for(stage, now)
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
            self._fallback = Era(self._generation, self._settings, self._target)
        if settings.workers != self._settings.workers:
            self._resize(settings.workers)
        self._settings = settings
        self._newest_generation += 1
        self._generation = self._newest_generation
        self._held_until = 0.0  # this may be the cure
        if self._progress is ServerState.RUNNING:
            self._progress = ServerState.RELOADING
        self._say("info", f"reloading: generation {self._generation} replaces the workers")
        return self._settle(now)

    # --- children -----------------------------------------------------------------------------

    def _advance(self, child: Child, before: Phase, now: float) -> None:
        """A child has got further by its own account."""
        child.due_at = due_at(child, self._settings, now)
        if child.phase in SERVING:
            if child.generation == self._generation:
                self._fallback = None
            if before is Phase.BOOTING and self._progress is not ServerState.BOOTING:
                self._say("info", f"{child} is ready after {now - child.started_at:.1f} s")
            if child.phase is Phase.RETIRING:
                self._say("info", f"{child} asks to be replaced")
        elif child.phase is Phase.STOPPING:
            self._say("info", f"{child} stops by itself")

    def _spawn(self, now: float) -> None:
        """Ask for one child, if a slot is free and no death is too recent."""
        index = next((i for i in range(self.slot_count) if i not in self._children), None)
        if index is None or now < self._held_until:
            return
        first = self._progress is ServerState.BOOTING
        child = Child(index, self._generation, first=first, started_at=now)
        child.due_at = due_at(child, self._settings, now)
        self._children[index] = child
        self._actions.append(Spawn(index, self._generation))

    def _stop(self, child: Child, now: float, order: Order = Order.STOP) -> None:
        child.phase = Phase.STOPPING
        child.due_at = due_at(child, self._settings, now)
        self._tell(child, order)

    # --- deaths -------------------------------------------------------------------------------

    def _judge_failed_boot(self, child: Child, now: float) -> None:
        if child.generation == self._generation and self._settings.waits:
            self._wait_for_reload("the application does not start")
        elif child.first:
            self._say("error", "giving up: the application does not start")
            self._status = ExitStatus.BOOT
            self._stop_all(Stage.QUICK, now, seconds=BOOT_FAILURE_SECONDS)
        elif child.generation != self._generation:
            pass  # superseded while it booted
        elif self._fallback is not None:
            self._abandon_reload(self._fallback)
        else:
            # While others serve, a replacement that fails is no reason to end them.
            self._note_death(now, counts=not self._serving())

    def _wait_for_reload(self, why: str) -> None:
        if self._held_until != inf:
            self._say("error", f"{why}: waiting for a change")
        self._held_until = inf

    def _abandon_reload(self, fallback: Era) -> None:
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
            deaths = f"{counted} workers died within {WINDOW_SECONDS:g} s"
            if self._settings.waits:
                self._wait_for_reload(deaths)
                return
            self._say("error", f"giving up: {deaths}, more than {self._settings.crash_limit}")
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
        if self._stage in LISTENING and stage not in LISTENING:
            self._actions.append(Unlisten())
        settings = self._settings
        self._stage = stage
        self._held_until = 0.0
        self._leaving_until = now + settings.drain_delay_seconds if stage is Stage.LEAVING else inf
        limit = now + (seconds or settings.closing_seconds + SLACK_SECONDS)
        for child in self._children.values():
            order = ORDERS.get((stage, child.phase))
            if order is None:
                continue
            if order is Order.STOP:
                child.phase = Phase.STOPPING
                child.due_at = due_at(child, settings, now)
            elif order is Order.QUIT:
                if child.phase is not Phase.CLOSING:
                    child.phase = Phase.STOPPING
                child.due_at = min(child.due_at, limit)
            elif order is Order.KILL:
                child.phase = Phase.KILLED
                child.due_at = inf
            self._tell(child, order)

    def _stop_for(self, stage: Stage, now: float) -> None:
        """Enter a stage of stopping that the operator wants, and say so."""
        if stage is Stage.LEAVING and not self._settings.drain_delay_seconds:
            stage = Stage.GRACEFUL
        self._stop_asked_at = min(self._stop_asked_at, now)
        self._stop_all(stage, now)
        self._say("info", notice(stage, self._settings))

    def _resize(self, wanted: int) -> None:
        # Twice the slots, so that every worker could be in replacement.
        limit = max(self.slot_count // 2, 1)
        self._target = min(max(wanted, 1), limit)
        more = f": {wanted} would take a restart" if wanted > limit else ""
        self._say("info", f"{counted_workers(self._target)} wanted{more}")

    def _settle(self, now: float) -> list[Action]:
        """Bring children and target together; hand out the actions."""
        if self._stage is Stage.RUNNING:
            self._balance(now)
        elif not self._children and self._stage is not Stage.OVER:
            if self._stage is Stage.LEAVING:
                self._stop_all(Stage.GRACEFUL, now)
            self._stage = Stage.OVER
            if self._stop_asked_at != inf:
                self._say("info", f"stopped after {now - self._stop_asked_at:.2f} s")
            self._actions.append(Finish(self._status))
        actions, self._actions = self._actions, []
        return actions

    def _balance(self, now: float) -> None:
        """One step towards as many children as wanted, all of this generation."""
        at_once = self._settings.replacement is Replacement.AT_ONCE
        for child in filter(self._is_outdated, self.children):
            overtaken = child.phase is Phase.BOOTING and not child.first  # it may hang, for one
            if overtaken or (at_once and child.phase in (Phase.BOOTING, *SERVING)):
                self._stop(child, now)
        alive = [c for c in self._children.values() if c.phase in ALIVE]
        if len(alive) < self._target:
            if not self._old_goes_first or len(self._children) < self._target:
                self._spawn(now)
            return
        if any(c.phase not in SERVING for c in alive):
            return  # one thing after the other
        self._announce_start(now)
        surplus = len(alive) - self._target
        if surplus:
            for child in sorted(alive, key=self._usefulness)[:surplus]:
                self._stop(child, now, Order.YIELD)
        elif len(alive) == len(self._children):  # nobody is still leaving
            self._renew(alive, now)

    def _renew(self, alive: list[Child], now: float) -> None:
        """Begin to replace a child, if one is outdated."""
        outdated = sorted(filter(self._is_outdated, alive), key=self._usefulness)
        if outdated and self._old_goes_first:
            self._stop(outdated[0], now, Order.YIELD)
        elif outdated:
            self._spawn(now)
        elif self._progress is ServerState.RELOADING:
            self._progress = ServerState.RUNNING
            count = counted_workers(len(alive))
            self._say("info", f"reloaded: {count} of generation {self._generation}")

    def _announce_start(self, now: float) -> None:
        if self._progress is ServerState.BOOTING:
            behind = any(c.generation != self._generation for c in self._children.values())
            self._progress = ServerState.RELOADING if behind else ServerState.RUNNING
            count = counted_workers(len(self._children))
            self._say("info", f"ready: {count} after {now - self._began_at:.2f} s")

    def _is_outdated(self, child: Child) -> bool:
        return child.phase is Phase.RETIRING or child.generation != self._generation

    def _usefulness(self, child: Child) -> tuple[bool, float]:
        """The lowest is stopped first: an outdated child, else the youngest."""
        return not self._is_outdated(child), -child.started_at

    @property
    def _old_goes_first(self) -> bool:
        return self._settings.replacement is Replacement.STOP_FIRST

    def _serving(self) -> list[Child]:
        return [child for child in self._children.values() if child.phase in SERVING]

    def _tell(self, child: Child, order: Order) -> None:
        self._actions.append(Tell(child.pid, order))

    def _say(self, level: Level, text: str) -> None:
        self._actions.append(Say(level, text))

"""Whatever is done to labels and outputs between runs, in any order: a run makes what is due and touches nothing else.

A Hypothesis state machine: the model knows of each output which content of its label it was made from.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from miniature import write_label

import segdata
from segdata.codecs.png import read_label
from segdata.commands import group

NAMES = ("a", "b/c", "b/d", "e")
CONTENTS = st.integers(0, 18)
MAPPING = "vistas-v1.2-to-cityscapes"


def ids_of(content: int) -> np.ndarray:
    """Return a label of two classes of its own."""
    return np.array([[content, content, 0, 255], [content, (content + 1) % 19, 0, 0]], np.uint8)


class History(RuleBasedStateMachine):
    """Labels that come, change and go; outputs that are lost or damaged; runs, shards and checks in between."""

    WORDS: tuple[str, ...]
    """Name and options of the command."""
    ENDING: str
    """Of an output."""
    TOLD: int
    """From how many bytes on an output says whose it is."""

    def check(self, name: str, content: int) -> None:
        """Assert that the output of a label is what it was made from."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.labels: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self.damaged: set[str] = set()

    def teardown(self) -> None:
        if self.labels:
            for name in set(NAMES) - self.labels.keys():  # a run looks at the outputs of the labels there are
                for path in (self.output(name), *self.output(name).parent.glob(f".{self.output(name).name}.*")):
                    path.unlink(missing_ok=True)
            assert self.invoke(self.WORDS[0], "labels", "targets", *self.WORDS[1:], "--update") == 0
            assert self.invoke(self.WORDS[0], "labels", "straight", *self.WORDS[1:]) == 0
            assert self.tree("targets") == self.tree("straight")
        shutil.rmtree(self.folder)

    def invoke(self, command: str, *words: str) -> int:
        told = [str(self.folder / word) if word in ("labels", "targets", "straight") else word for word in words]
        result = CliRunner().invoke(group, [command, *told, "-q"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code

    def tree(self, name: str) -> dict[str, bytes]:
        root = self.folder / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def output(self, name: str) -> Path:
        return self.folder / "targets" / f"{name}{self.ENDING}"

    def due(self) -> set[str]:
        """Return the labels that have no valid output."""
        return {name for name in self.labels if name not in self.outputs or name in self.damaged}

    def stale(self) -> set[str]:
        """Return the labels whose output was made from another content."""
        return {
            name for name, content in self.labels.items() if name not in self.due() and self.outputs[name] != content
        }

    def made(self, names: set[str]) -> None:
        for name in names:
            self.outputs[name] = self.labels[name]
        self.damaged -= names

    @rule(name=st.sampled_from(NAMES), content=CONTENTS)
    def label(self, name: str, content: int) -> None:
        write_label(self.folder / "labels" / f"{name}.png", ids_of(content))
        self.labels[name] = content

    @precondition(lambda self: len(self.labels) > 1)
    @rule(data=st.data())
    def take_a_label_away(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.labels)))
        (self.folder / "labels" / f"{name}.png").unlink()
        del self.labels[name]

    @precondition(lambda self: self.outputs.keys() - self.damaged)
    @rule(data=st.data(), how=st.sampled_from(["lost", "cut", "a wrong bit"]))
    def harm_an_output(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.outputs.keys() - self.damaged)))
        path, content = self.output(name), self.output(name).read_bytes()
        if how == "lost":
            path.unlink()
            del self.outputs[name]
            return
        # Of fewer bytes, but some, nobody can say whose they were: such a file is kept, and a run says so.
        at = data.draw(st.integers(self.TOLD, len(content) - 1) | st.just(0))
        path.write_bytes(content[:at] if how == "cut" else content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        self.damaged.add(name)

    @precondition(lambda self: self.labels)
    @rule(data=st.data())
    def a_killed_run_leaves_a_file(self, data: st.DataObject) -> None:
        path = self.output(data.draw(st.sampled_from(sorted(self.labels))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.0123456789abcdef.segdata-tmp").write_bytes(b"half")

    @precondition(lambda self: self.labels)
    @rule(update=st.booleans(), processes=st.sampled_from(["1", "1", "1", "2"]))
    def run(self, update: bool, processes: str) -> None:
        stale = self.stale()
        code = self.invoke(
            self.WORDS[0], "labels", "targets", *self.WORDS[1:], "-j", processes, *(["--update"] if update else [])
        )
        self.made(self.due() | (stale if update else set()))
        assert code == (1 if stale and not update else 0)

    @precondition(lambda self: self.labels)
    @rule(overwrite=st.just(True))
    def run_over_everything(self, overwrite: bool) -> None:
        assert self.invoke(self.WORDS[0], "labels", "targets", *self.WORDS[1:], "--overwrite") == 0
        self.made(set(self.labels))

    @precondition(lambda self: self.labels)
    @rule()
    def say_what_would_be_done(self) -> None:
        before = self.tree("targets") if (self.folder / "targets").is_dir() else {}
        self.invoke(self.WORDS[0], "labels", "targets", *self.WORDS[1:], "--dry-run")
        assert (self.tree("targets") if (self.folder / "targets").is_dir() else {}) == before

    @precondition(lambda self: self.labels)
    @rule(order=st.permutations(["1/3", "2/3", "3/3"]))
    def run_in_shards(self, order: list[str]) -> None:
        stale = self.stale()
        codes = [self.invoke(self.WORDS[0], "labels", "targets", *self.WORDS[1:], "--shard", shard) for shard in order]
        self.made(self.due())
        assert (max(codes) == 1) == bool(stale)
        assert stale or not list((self.folder / "targets").glob("*.shard-*"))

    @precondition(lambda self: self.labels and not self.outputs.keys() - self.labels.keys())
    @rule()
    def verify_after_an_update(self) -> None:
        assert self.invoke(self.WORDS[0], "labels", "targets", *self.WORDS[1:], "--update") == 0
        self.made(self.due() | self.stale())
        assert self.invoke("verify", "targets") == 0
        name = min(self.outputs)
        content = self.output(name).read_bytes()
        self.output(name).write_bytes(content[:-1])
        assert self.invoke("verify", "targets") == 1
        self.output(name).write_bytes(content)

    @invariant()
    def outputs_are_what_they_were_made_from(self) -> None:
        for name, content in self.outputs.items():
            if name not in self.damaged:
                self.check(name, content)


class Precomputing(History):
    """Of targets."""

    WORDS, ENDING, TOLD = ("precompute-cpp", "--scales", "2"), ".cpp.npz", 64

    def check(self, name: str, content: int) -> None:
        """Hold the counts against those of the label."""
        found = segdata.load_cpp(self.output(name)).counts(2)
        assert (found == segdata.cpp_counts(ids_of(content), 2)).all(), name


class Converting(History):
    """Of labels to other ids."""

    WORDS, ENDING, TOLD = ("convert", "--mapping", MAPPING, "--unmapped", "ignore"), ".png", 64

    def check(self, name: str, content: int) -> None:
        """Hold the ids against those that the mapping gives."""
        expected = segdata.remap_labels(ids_of(content), segdata.LabelMapping.load(MAPPING), unmapped="ignore")
        assert (read_label(self.output(name)) == expected).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("command", [Precomputing, Converting])
def test_any_history_of_labels_and_outputs_ends_in_the_tree_of_a_straight_run(command):
    quick = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    run_state_machine_as_test(command, settings=quick)

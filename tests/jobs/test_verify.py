"""Verifying names each kind of fault, and no other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdata.batch.report import encode_report, read_report
from segdata.batch.run import run_plan
from segdata.batch.work import BatchSettings
from segdata.codecs.png import decode_label, encode_label
from segdata.codecs.png_chunks import read_text
from segdata.cpp.store import decode_cpp, encode_cpp
from segdata.errors import LayoutError, SettingsError, StoreError
from segdata.jobs.convert import plan_folder, plan_vistas, run_convert
from segdata.jobs.convert_label import ConvertSettings
from segdata.jobs.index import plan_index
from segdata.jobs.precompute import plan_precompute
from segdata.jobs.verify import Verification, verify
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping
from segdata.layouts.vistas import VistasRoot
from segdata.layouts.vistas_version import class_table_of
from segdata.sampling.index_builder import run_index

NAMES = ("a", "b", "c")
TOOLS = ("convert", "convert-mapillary", "precompute-cpp")


class Made:
    """A source of three labels and the outputs of one tool."""

    def __init__(self, folder: Path, tool: str) -> None:
        self.tool, self.source, self.out = tool, folder / "source", folder / "out"
        self.labels = self.source / ("training/labels" if tool == "convert-mapillary" else "")
        self.labels.mkdir(parents=True)
        for seed, name in enumerate(NAMES):
            self.label(name).write_bytes(a_label(seed))
        if tool == "convert-mapillary":
            (self.source / "training/images").mkdir()
            for name in NAMES:
                (self.source / "training/images" / f"{name}.jpg").write_bytes(b"an image")
        self.run()

    def run(self, **batch: object) -> None:
        """Run the tool."""
        settings = BatchSettings(**batch)  # type: ignore[arg-type]
        if self.tool == "precompute-cpp":
            run_plan(plan_precompute(self.source, self.out, scales=[2, 4], encoding="trainIds"), settings)
        elif self.tool == "convert":
            mapping = LabelMapping.load("camvid-to-cityscapes")
            run_convert(plan_folder(self.source, self.out, ConvertSettings(mapping=mapping)), settings)
        else:
            mapping = LabelMapping.load("vistas-v1.2-to-cityscapes")
            root = VistasRoot.open(self.source, "v1.2")
            run_convert(plan_vistas(root, self.out, ConvertSettings(mapping=mapping), images="symlink"), settings)

    def label(self, name: str) -> Path:
        return self.labels / f"{name}.png"

    def output(self, name: str) -> Path:
        if self.tool == "convert-mapillary":
            return self.out / "gtFine/train/mapillary" / f"{name}_gtFine_labelTrainIds.png"
        return self.out / (f"{name}.cpp.npz" if self.tool == "precompute-cpp" else f"{name}.png")

    @property
    def report(self) -> Path:
        return self.out / f"{self.tool}.json"

    def interrupt(self) -> None:
        """Leave the report as a first run does that was interrupted."""
        self.rewrite_report(lambda report: report.update(state="running"))  # type: ignore[arg-type]
        self.rewrite_report(lambda report: report["files"].clear())

    def rewrite_report(self, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
        report = read_report(self.report)
        assert report is not None
        change(report)
        self.report.write_bytes(encode_report(report))


def a_label(seed: int) -> bytes:
    return encode_label(np.random.default_rng(seed).integers(0, 11, (6, 8), dtype=np.uint8))


@pytest.fixture(params=TOOLS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Return the outputs of each tool."""
    return Made(tmp_path, request.param)


def told(found: Verification) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in found.faults]


def test_sound_outputs_have_no_fault(made: Made) -> None:
    found = verify(made.out, deep=None)
    assert found.faults == ()
    assert (found.num_outputs, found.num_compared, found.num_recomputed) == (3, 3, 3)
    assert found.reports == (str(made.report),)
    assert set(found.counts().values()) == {0}


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"", lambda data: data[:60] + b"?" + data[61:]])
def test_a_damaged_output_is_named(made: Made, damage: Callable[[bytes], bytes]) -> None:
    output = made.output("b")
    output.write_bytes(damage(output.read_bytes()))
    found = verify(made.out)
    assert told(found) == [("damaged", str(output))]
    assert str(output) in found.faults[0].message
    assert found.num_compared == 2


def test_every_flipped_bit_of_an_output_is_found(made: Made, rng: np.random.Generator) -> None:
    output = made.output("b")
    whole = output.read_bytes()
    for bit in rng.integers(0, 8 * len(whole), 40):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        output.write_bytes(flipped)
        assert [path for _, path in told(verify(made.out))] == [str(output)], bit


def test_a_missing_output_is_named(made: Made) -> None:
    made.output("b").unlink()
    assert told(verify(made.out)) == [("missing", str(made.output("b")))]


def test_an_output_of_another_label_is_stale(made: Made) -> None:
    shutil.copy(made.output("a"), made.output("b"))
    found = verify(made.out)
    assert told(found) == [("stale", str(made.output("b")))]
    assert "was made from another label than the report says" in found.faults[0].message


def test_a_label_that_changed_makes_its_output_stale(made: Made) -> None:
    made.label("b").write_bytes(a_label(9))
    found = verify(made.out)
    assert told(found) == [("stale", str(made.output("b")))]
    assert f"its label {made.label('b')} has changed since" in found.faults[0].message


def test_a_label_that_is_gone_makes_its_output_stale(made: Made) -> None:
    made.label("b").unlink()
    found = verify(made.out)
    assert told(found) == [("stale", str(made.output("b")))]
    assert "its label cannot be read any more" in found.faults[0].message


def test_without_the_source_outputs_are_only_read(made: Made) -> None:
    made.source.rename(made.source.with_name("elsewhere"))
    found = verify(made.out)
    kinds = {kind for kind, _ in told(found)}
    assert kinds == ({"missing"} if made.tool == "convert-mapillary" else set())  # linked images point nowhere
    assert (found.num_outputs, found.num_compared) == (3, 0)
    with pytest.raises(SettingsError, match=r"--deep: .*source is not there, which the outputs were made from"):
        verify(made.out, deep=1)


def test_other_settings_than_the_report_says_are_stale(made: Made) -> None:
    name, value = ("scales", [2]) if made.tool == "precompute-cpp" else ("unmapped", "ignore")
    made.rewrite_report(lambda report: report["settings"].update({name: value}))
    found = verify(made.out)
    assert {kind for kind, _ in told(found)} == {"stale"}
    assert len(found.faults) == 3
    assert f"was made with other settings than the report says: {name} was" in found.faults[0].message


def test_wrong_pixels_under_right_checksums_are_found_by_deep_alone(made: Made) -> None:
    output = made.output("b")
    if made.tool == "precompute-cpp":
        wrong = decode_cpp(output.read_bytes(), "")
        other = decode_cpp(made.output("a").read_bytes(), "")
        output.write_bytes(encode_cpp(other, wrong.meta["about"]))
    else:
        pixels = decode_label(output.read_bytes(), "")
        pixels[3, 3] ^= 1
        output.write_bytes(encode_label(pixels, text=read_text(output.read_bytes(), "")))
    assert verify(made.out).faults == ()
    assert told(verify(made.out, deep=None)) == [("wrong", str(output))]


def test_deep_takes_a_sample_of_the_size_asked_for(made: Made) -> None:
    assert [verify(made.out, deep=number).num_recomputed for number in (0, 1, 2, 9)] == [0, 1, 2, 3]


def test_deep_needs_the_rules_that_made_the_outputs(made: Made) -> None:
    name = "classes_digest" if made.tool == "precompute-cpp" else "mapping_digest"
    made.rewrite_report(lambda report: report["settings"].update({name: "0"}))
    with pytest.raises(SettingsError, match=r"--deep: .* is not the one that made the outputs\. Pass the file"):
        verify(made.out, deep=1)
    with pytest.raises(SettingsError, match=r"--deep: .*'nowhere' is not the one"):
        verify(made.out, deep=1, rules="nowhere")


def test_an_output_without_an_entry_is_extra(made: Made) -> None:
    extra = made.output("d")
    shutil.copy(made.output("a"), extra)
    assert told(verify(made.out)) == [("extra", str(extra))]


def test_an_output_of_ours_in_another_folder_is_extra_and_a_image_is_not(made: Made) -> None:
    (made.out / "old").mkdir()
    shutil.copy(made.output("a"), made.out / "old")
    (made.out / "old" / "image.png").write_bytes(a_label(0))
    assert told(verify(made.out)) == [("extra", str(made.out / "old" / made.output("a").name))]


def test_outputs_behind_a_link_are_not_extra(made: Made, tmp_path: Path) -> None:
    (tmp_path / "other run").mkdir()
    shutil.copy(made.output("a"), tmp_path / "other run")
    (made.out / "linked").symlink_to(tmp_path / "other run")
    assert told(verify(made.out)) == []


def test_a_leftover_temporary_is_extra(made: Made) -> None:
    leftover = made.output("a").with_name(".a.0123abcd.segdata-tmp")
    leftover.touch()
    found = verify(made.out)
    assert told(found) == [("extra", str(leftover))]
    assert "leftover of a killed run" in found.faults[0].message


def test_a_label_that_could_not_be_done_is_named_as_the_report_does(made: Made) -> None:
    made.label("d").write_bytes(b"")
    made.run()
    found = verify(made.out)
    assert [kind for kind, _ in told(found)] == ["not done"]
    assert f"was not done: {made.label('d')}: is not a PNG file" in found.faults[0].message


def test_a_run_that_has_not_ended_is_named(made: Made) -> None:
    made.rewrite_report(lambda report: report.update(state="running"))  # type: ignore[arg-type]
    found = verify(made.out)
    assert told(found) == [("unfinished", str(made.report))]
    assert "it continues from here" in found.faults[0].message


def test_sound_outputs_that_a_running_report_does_not_name_are_counted_and_no_fault(made: Made) -> None:
    made.interrupt()
    found = verify(made.out)
    assert told(found) == [("unfinished", str(made.report))]
    assert "its end; 3 outputs are done that the report does not name yet. Run" in found.faults[0].message
    assert found.num_outputs == 3


def test_what_is_not_sound_of_a_running_report_is_still_told(made: Made) -> None:
    made.interrupt()
    output = made.output("b")
    output.write_bytes(output.read_bytes()[:-9])
    found = verify(made.out)
    assert sorted(told(found)) == [("damaged", str(output)), ("unfinished", str(made.report))]
    name, value = ("scales", [2]) if made.tool == "precompute-cpp" else ("unmapped", "ignore")
    made.rewrite_report(lambda report: report["settings"].update({name: value}))
    assert sorted({kind for kind, _ in told(verify(made.out))}) == ["damaged", "stale", "unfinished"]


def test_an_older_output_of_a_label_with_an_error_is_not_extra(made: Made) -> None:
    made.label("b").write_bytes(b"")
    made.run()
    assert made.output("b").exists()
    assert [kind for kind, _ in told(verify(made.out))] == ["not done"]


def test_a_run_that_stopped_at_the_first_error_is_unfinished_and_loses_no_output(made: Made) -> None:
    made.label("a").write_bytes(b"")
    made.run(fail_fast=True)
    found = verify(made.out)
    assert sorted(kind for kind, _ in told(found)) == ["not done", "unfinished"]
    assert found.num_compared == 2


def test_outputs_of_shards_are_known_before_the_whole_run(made: Made) -> None:
    shutil.rmtree(made.out)
    made.run(shard=(1, 2))
    found = verify(made.out)
    assert told(found) == [("unfinished", str(made.report))]
    assert "Run the other shards" in found.faults[0].message
    num_first = found.num_compared
    made.run(shard=(2, 2))
    assert (num_first < 3, told(verify(made.out)), verify(made.out).num_compared) == (True, [], 3)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    made = Made(tmp_path, "convert-mapillary")
    (made.source / "training/images/b.jpg").unlink()
    found = verify(made.out)
    assert told(found) == [("missing", str(made.output("b")))]
    assert "b_leftImg8bit.jpg: the image of b_gtFine_labelTrainIds.png is missing" in found.faults[0].message


def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    made = Made(tmp_path, "precompute-cpp")
    made.output("b").write_bytes(b"")
    assert verify(made.out, deep=None, jobs=2) == verify(made.out, deep=None)


def test_a_class_table_of_the_user_is_passed_as_rules(tmp_path: Path) -> None:
    made = Made(tmp_path, "precompute-cpp")
    table = tmp_path / "mine.yaml"
    rows = "".join(f"  - {{id: {i}, train: {i}, name: c{i}, color: [{i}, 0, 0]}}\n" for i in range(11))
    table.write_text(f"about: mine\nclasses:\n{rows}")
    plan = plan_precompute(made.source, tmp_path / "own", scales=[2], classes=table, encoding="trainIds")
    run_plan(plan, BatchSettings())
    assert ClassTable.load(table).digest == plan.settings.classes.digest
    assert verify(tmp_path / "own", deep=None, rules=str(table)).faults == ()


def test_a_trusted_class_list_is_read_again(tmp_path: Path) -> None:
    made = trusting(tmp_path)
    found = verify(made.out, deep=None)
    assert (found.faults, found.num_recomputed) == ((), 3)
    assert verify(made.out, deep=None, jobs=2) == found


def test_a_trusted_class_list_that_changed_is_named(tmp_path: Path) -> None:
    made = trusting(tmp_path)
    write_config(made.source, 1, 2)
    message = r"--deep: mapping 'vistas-v1\.2-to-cityscapes' with the classes of .*/config\.json is not what made the"
    with pytest.raises(SettingsError, match=message):
        verify(made.out, deep=1)
    assert verify(made.out).faults == ()


def write_config(source: Path, one: int, other: int) -> None:
    """Write the class list of v1.2 with two classes in each other's place."""
    rows = [{"name": row.name, "readable": row.readable, "color": [0, 0, 0]} for row in class_table_of("v1.2").classes]
    rows[one], rows[other] = rows[other], rows[one]
    (source / "config.json").write_text(json.dumps({"labels": rows}))


def trusting(folder: Path) -> Made:
    """Return the outputs of a download whose own class list differs and is trusted."""
    made = Made(folder, "convert-mapillary")
    shutil.rmtree(made.out)
    write_config(made.source, 7, 8)
    root = VistasRoot.open(made.source, trust_config=True)
    mapping = LabelMapping.load("vistas-v1.2-to-cityscapes", source=root.class_table)
    run_convert(plan_vistas(root, made.out, ConvertSettings(mapping=mapping)), BatchSettings())
    return made


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutError, match=r"holds no report \(convert\.json, .*\) and no \*\.index\.npz\. Give the DST"
    ):
        verify(tmp_path)


def test_a_damaged_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "convert.json").write_text(json.dumps([]))
    with pytest.raises(StoreError, match=r"convert\.json: is not a report of a segdata command"):
        verify(tmp_path)


def test_a_report_without_what_is_needed_of_it_is_refused(made: Made) -> None:
    report = json.loads((made.out / f"{made.tool}.json").read_text())
    for entry in report["files"].values():
        del entry["digest"]
    (made.out / f"{made.tool}.json").write_text(json.dumps(report))
    with pytest.raises(StoreError, match=r"\.json: is damaged \(it lacks 'digest'\)"):
        verify(made.out)


def make_index(folder: Path) -> Path:
    """Write three labels and their index, and return the index."""
    (folder / "labels").mkdir()
    for seed, name in enumerate(NAMES):
        (folder / "labels" / f"{name}.png").write_bytes(a_label(seed))
    run_index(plan_index(folder / "labels", folder / "labels.index.npz", encoding="trainIds"), BatchSettings())
    return folder / "labels.index.npz"


def test_a_sound_index_has_no_fault_named_itself_or_by_its_folder(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    assert verify(index) == verify(tmp_path)
    assert (verify(index).faults, verify(index).num_compared) == ((), 1)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)
    assert told(verify(tmp_path)) == [("damaged", str(index))]


def test_each_label_that_changed_makes_the_index_stale(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    (tmp_path / "labels" / "a.png").unlink()
    (tmp_path / "labels" / "b.png").write_bytes(a_label(9))
    found = verify(tmp_path)
    assert told(found) == [("stale", str(index))] * 2
    assert ["a.png" in found.faults[0].message, "b.png" in found.faults[1].message] == [True, True]


def test_a_confidence_image_that_changed_makes_the_index_stale(tmp_path: Path) -> None:
    index = tmp_path / "labels.index.npz"
    confidence = tmp_path / "labels" / "b_prob.png"
    confidence.parent.mkdir()
    (tmp_path / "labels" / "b.png").write_bytes(a_label(0))
    confidence.write_bytes(encode_label(np.full((6, 8), 255, np.uint8)))
    run_index(plan_index(tmp_path / "labels", index, encoding="trainIds"), BatchSettings())
    assert verify(tmp_path).faults == ()
    confidence.write_bytes(a_label(1))
    assert told(verify(tmp_path)) == [("stale", str(index))]
    assert str(confidence) in verify(tmp_path).faults[0].message


def test_an_index_without_its_labels_is_only_read(tmp_path: Path) -> None:
    make_index(tmp_path)
    shutil.rmtree(tmp_path / "labels")
    found = verify(tmp_path)
    assert (found.faults, found.num_outputs, found.num_compared) == ((), 1, 0)


def test_an_index_of_which_shards_are_done_is_unfinished(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    index.unlink()
    run_index(plan_index(tmp_path / "labels", index, encoding="trainIds"), BatchSettings(shard=(1, 2)))
    assert told(verify(tmp_path)) == [("unfinished", str(index))]


def test_an_index_that_shards_are_to_replace_is_unfinished(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    plan = plan_index(tmp_path / "labels", index, encoding="trainIds")
    run_index(plan, BatchSettings(shard=(1, 2), overwrite=True))
    found = verify(tmp_path)
    assert told(found) == [("unfinished", str(index))]
    assert found.faults[0].message.endswith("Run segdata index again, with --overwrite.")

"""Pages: whole, of one file, with the numbers that the commands print, and working in a browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from small_runs import write_recipe

from segdata.commands import group
from segdata.config.recipe import load_recipe
from segdata.errors import SettingsError
from segdata.metrics.scores import Scores
from segdata.pages.charts import line_chart, ticks
from segdata.pages.html import Part, bar, facts, page, paragraph, table
from segdata.pages.of_run import ImageScores, _as_data, _explorer
from segdata.pages.page_of import page_of
from segdata.synthetic import write_vistas
from segdata.training.loop import train

_VOID = {"meta", "img", "input", "br", "link"}


class Checked(HTMLParser):
    """Goes through a page and notes what is wrong: tags that do not close, addresses that lie outside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.faults += self.open

    def handle_starttag(self, tag, attributes):
        if tag not in _VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not str(value).startswith(("data:image/", "#")):
                self.faults.append(f"{tag} {name}={value}")
            if name == "aria-label" and not value:
                self.faults.append(f"{tag} without a label")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data):
        self.text.append(data)


def checked(text: str) -> str:
    """Check a page, and return the text that is read in it."""
    found = Checked(text)
    assert not found.faults
    assert re.search(r"https?:", text) is None
    return " ".join("".join(found.text).split())


def run(*words):
    result = CliRunner().invoke(group, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with scenes, what is made of them, a short run, and its predictions."""
    folder = tmp_path_factory.mktemp("made")
    write_vistas(folder / "vistas", 3, (64, 128), seed=1)
    run("convert-mapillary", folder / "vistas", folder / "converted")
    run("precompute-cpp", folder / "converted", folder / "store")
    run("index", folder / "converted", "--split", "train", "--tile", "32", "-o", folder / "x.index.npz")
    recipe = write_recipe(folder, run="checkpoint_every: 4, evaluate_every: 3")
    train(load_recipe(recipe, ["evaluation.boundary=true"]), folder / "run", progress=False)
    images, kinds = folder / "city/leftImg8bit/val", ("--write", "labels", "--write", "overlay")
    run("predict", folder / "run", images, folder / "predicted", *kinds)
    return folder


def test_a_converted_data_set_shows_what_became_of_each_class(made):
    text = page_of(made / "converted")
    told = checked(text)
    totals = json.loads((made / "converted/convert-mapillary.json").read_text())["totals"]
    assert f"{totals['ignored']['share']:.2%}" in told
    assert all(f"{row['pixels']:,}" in told for row in totals["target_classes"])
    assert "construction--flat--road" in told
    assert text.count("data:image/jpeg") == len(totals["ignored"]["worst"]) > 0


def test_files_that_failed_are_named_as_plain_text(made, tmp_path):
    shutil.copytree(made / "converted", tmp_path / "copy", symlinks=True)
    path = tmp_path / "copy/convert-mapillary.json"
    report = json.loads(path.read_text())
    report["files"]["training/x"] = {"status": "error", "message": "<script>alert(1)</script> is damaged"}
    path.write_text(json.dumps(report))
    text = page_of(tmp_path / "copy")
    assert "<script>alert(1)</script> is damaged" in checked(text)
    assert "<script>alert" not in text


def test_stored_targets_show_their_size(made):
    told = checked(page_of(made / "store"))
    size = sum(path.stat().st_size for path in (made / "store").rglob("*.npz"))
    assert f"{size / 2**20:,.1f} MiB" in told
    assert "2, 4, 8" in told


def test_an_index_shows_what_drawing_by_class_changes(made):
    half, none = (checked(page_of(made / "x.index.npz", class_uniform=part)) for part in (0.5, 0.0))
    assert "With class_uniform 0.5" in half
    changes = [set(re.findall(r"% to [\d.]+%(\d+\.\d\d)", told)) for told in (half, none)]
    assert changes[1] == {"1.00"}
    assert len(changes[0]) > 2


def test_a_run_shows_its_curves_and_classes(made):
    text = page_of(made / "run")
    told = checked(text)
    last = [json.loads(line) for line in (made / "run/metrics.jsonl").read_text().splitlines()][-1]
    assert last["kind"] == "evaluation"
    assert f"{100 * last['miou']:.2f}" in told
    assert text.count("<svg") == 5
    assert "boundary IoU" in told
    assert "Confusion" not in told


def test_with_predictions_it_shows_what_evaluate_prints(made):
    found = json.loads(run("evaluate", made / "run", "--json").output)
    text = page_of(made / "run", predictions=made / "predicted")
    assert f"mIoU{100 * found['miou']:.2f}" in checked(text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["scores"]
    assert data["names"] == ["town_000000_000019_leftImg8bit.png", "town_000001_000019_leftImg8bit.png"]
    assert len(data["iou"]) == 19
    assert text.count("data:image/png") == 4  # a label and a prediction each


def test_an_image_without_a_labeled_pixel_has_no_score(made, tmp_path):
    shutil.copytree(made / "city", tmp_path / "city")
    label = next((tmp_path / "city/gtFine/val/town").glob("*000001*labelTrainIds.png"))
    Image.fromarray(np.full((40, 56), 255, np.uint8)).save(label)
    shutil.copytree(made / "run", tmp_path / "run")
    recipe = tmp_path / "run/recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(made / "city"), str(tmp_path / "city")))
    text = page_of(tmp_path / "run", predictions=made / "predicted")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["scores"]
    assert data["miou"][1] is None
    assert data["miou"][0] is not None
    assert text.count("data:image/png") == 2


def test_an_experiment_shows_the_table_and_the_comparisons():
    folder = Path(__file__).parents[2] / "docs/results/camvid-pspnet-short"
    told = checked(page_of(folder))
    printed = run("experiment", "show", folder, "--classes").output
    assert next(line for line in printed.splitlines() if line.startswith("cpp against ce:")) in told
    assert "18 of 18" in told


def test_what_is_none_of_these_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"neither a run, an experiment, .*Give such a folder"):
        page_of(tmp_path)


def test_predictions_are_those_of_a_run(made):
    with pytest.raises(SettingsError, match=r"is no run of training"):
        page_of(made / "store", predictions=made / "predicted")
    with pytest.raises(SettingsError, match=r"is not the file of a class index"):
        page_of(made / "store", class_uniform=0.5)


def test_a_report_whose_labels_are_gone_is_shown_without_them(made, tmp_path):
    shutil.copy(made / "converted/convert-mapillary.json", tmp_path)
    text = page_of(tmp_path)
    assert "Not shown: " in checked(text)
    assert "data:image" not in text


def test_the_command_writes_one_file_and_keeps_what_it_shows(made, tmp_path):
    output = tmp_path / "out" / "page.html"
    output.parent.mkdir()
    told = run("report", made / "x.index.npz", "-o", output).output
    assert "page.html" in told
    assert output.read_text() == page_of(made / "x.index.npz")
    for target, why in ((made / "x.index.npz", "a page ends in .html"), (tmp_path / "p.pdf", "a page ends in .html")):
        result = CliRunner().invoke(group, ["report", str(made / "store"), "-o", str(target)])
        assert why in str(result.exception)


def test_parts_of_a_page_escape_what_they_are_given():
    hostile = "<b>\"&'</script>"
    body = (
        paragraph(hostile)
        + facts([(hostile, hostile)])
        + table([hostile], [[hostile, bar(0.5, hostile)]], caption=hostile)
    )
    body += line_chart(hostile, {hostile: [(0, 1.0), (1, 2.0)], "other": []})
    text = page(hostile, [Part(hostile, body)], data={"x": hostile})
    checked(text)
    assert "<b>" not in text
    assert json.loads(re.search(r'id="data">(.*?)</script>', text)[1]) == {"x": hostile}


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (5.0, 5.0), (-3.0, 1e-4), (1e-9, 2e-9), (0, 123_456)])
def test_ticks_enclose_the_values_and_are_few(low, high):
    found = ticks(low, high, 5)
    assert found[0] <= low + 1e-12
    assert found[-1] >= high - 1e-12
    assert 2 <= len(found) <= 9


def test_curves_leave_out_what_is_not_finite_and_long_ones_are_thinned():
    assert "no value yet" in line_chart("loss", {"all": [(1, float("nan"))]})
    long = line_chart("loss", {"all": [(step, step % 7) for step in range(100_000)]})
    assert len(long) < 100_000
    assert "ends at" in long


def many_images(number: int) -> str:
    """Return the page of a run of so many images, without pictures."""
    rng = np.random.default_rng(0)
    iou = rng.random((number, 19))
    iou[rng.random(iou.shape) < 0.3] = np.nan
    names = [f"aachen_{at:06d}_000019_leftImg8bit.png" for at in range(number)]
    classes = tuple(f"class {at}" for at in range(19))
    scores = ImageScores(Scores.empty(classes), names, np.nanmean(iou, axis=1).tolist(), iou)
    return page("Run", [Part("Images", _explorer(scores))], data={"scores": _as_data(scores)})


def test_a_page_of_25000_images_stays_below_10_megabytes():
    assert len(many_images(25_000).encode()) < 10e6


def in_browser(text: str, program: str, folder: Path) -> dict:
    """Open a page in Chromium, run a program in it, and return what it puts into `result`."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("optional: Chromium is not installed")
    before = "<script>const faults = []; window.onerror = (told) => faults.push(told);</script>"
    after = (
        "<script>{ const result = {};" + program + "document.title = JSON.stringify({faults, ...result}); }</script>"
    )
    path = folder / "page.html"
    path.write_text(text.replace("<script type=", before + "<script type=", 1).replace("</body>", after + "</body>"))
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{path}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", done.stdout)[1]))


@pytest.mark.slow
@pytest.mark.optional
def test_in_a_browser_images_are_sorted_and_filtered_by_class(tmp_path):
    text = many_images(25_000)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["scores"]
    found = in_browser(
        text,
        """
        const place = document.getElementById("scores"), cells = () => [...place.querySelectorAll("tbody tr")].map(
          (row) => [...row.children].map((cell) => cell.textContent));
        result.first = cells();
        place.querySelector("button.order").click(); result.best = cells();
        place.querySelector("button.order").click();
        const select = place.querySelector("select"); result.choices = select.length;
        select.value = "4"; select.dispatchEvent(new Event("change")); result.fourth = cells();
        place.querySelector("button.more").click(); result.more = cells().length;
        result.count = place.querySelector("output").textContent;
        """,
        tmp_path,
    )
    assert found["faults"] == []
    order = sorted(range(25_000), key=lambda at: (data["miou"][at], at))
    assert [row[0] for row in found["first"]] == [data["names"][at] for at in order[:50]]
    assert found["best"][0][1] == f"{max(data['miou']) / 10:.1f}"
    assert found["choices"] == 20
    column = data["iou"][3]
    there = sorted((at for at in range(25_000) if column[at] is not None), key=lambda at: (column[at], at))
    assert [row[0] for row in found["fourth"]] == [data["names"][at] for at in there[:50]]
    assert [row[2] for row in found["fourth"]] == [f"{data['miou'][at] / 10:.1f}" for at in there[:50]]
    assert (found["more"], found["count"]) == (250, f"250 of {len(there)} images")


@pytest.mark.slow
@pytest.mark.optional
def test_in_a_browser_the_slider_goes_from_image_to_label_to_prediction(made, tmp_path):
    found = in_browser(
        page_of(made / "run", predictions=made / "predicted"),
        """
        const shot = document.querySelector(".shot"), input = shot.querySelector("input");
        result.seen = ["0", "1", "1.5", "2"].map((value) => {
          input.value = value; input.dispatchEvent(new Event("input"));
          const layers = [...shot.querySelectorAll("img")].map((image) => image.style.opacity);
          return [layers, shot.querySelector("output").textContent, input.getAttribute("aria-valuetext")];
        });
        input.focus(); result.focused = document.activeElement === input;
        result.named = [...document.querySelectorAll("svg")].every((chart) => chart.getAttribute("aria-label"));
        """,
        tmp_path,
    )
    assert found["faults"] == []
    assert found["seen"] == [
        [["1", "0", "0"], "image", "image"],
        [["1", "1", "0"], "label", "label"],
        [["1", "1", "0.5"], "prediction", "prediction"],
        [["1", "1", "1"], "prediction", "prediction"],
    ]
    assert found["focused"]
    assert found["named"]


@pytest.mark.slow
@pytest.mark.optional
@pytest.mark.parametrize("width", [1400, 400])
def test_in_a_browser_nothing_but_tables_is_wider_than_the_screen(made, tmp_path, width):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("optional: Chromium is not installed")
    path = tmp_path / "shot.png"
    (tmp_path / "page.html").write_text(page_of(made / "converted"))
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},1200",
         f"--screenshot={path}", f"file://{tmp_path}/page.html"],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    with Image.open(path) as shot:
        pixels = np.asarray(shot.convert("L"))
    assert pixels.shape == (1200, width)
    assert (pixels < 128).any()  # something is written
    assert (pixels[:, -6:] == pixels[0, -1]).all()  # the margin is free

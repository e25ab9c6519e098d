"""Mixtures written down, and mixtures by name."""

from fractions import Fraction

import pytest
from indexes import even_index

from segdata.config.mixture import parse_source, preset_sources, read_mixture
from segdata.errors import SegdataError, SettingsError
from segdata.sampling.sampler import MixedClassUniformSampler


@pytest.fixture
def folder(tmp_path):
    """Return a folder with an index without labels to go stale."""
    index = even_index(0)
    for name in ("fine", "vistas", "coarse"):
        (tmp_path / f"{name}.npz").write_bytes(index.encode("."))
    return tmp_path


def write(folder, text):
    """Write a recipe and return its path."""
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_a_recipe_says_sources_size_and_seed(folder):
    mixture = read_mixture(
        write(
            folder,
            """
            sources:
              fine: {index: fine.npz, share: 2/5}
              vistas: {index: vistas.npz, share: 0.6, class_uniform: 1, class_weights: {class 1: 2}, center: centroid}
            epoch_size: 2975
            seed: 7
            """,
        )
    )
    first, second = mixture.sources
    assert (first.name, first.share, first.class_uniform, first.center) == ("fine", Fraction(2, 5), 0, "pixel")
    assert (second.share, second.class_weights, second.center) == (Fraction(3, 5), {"class 1": 2.0}, "centroid")
    assert (mixture.epoch_size, mixture.seed) == (2975, 7)


def test_a_preset_needs_index_files_alone(folder):
    text = "preset: seethroughnet\nsources: {fine: fine.npz, vistas: vistas.npz, coarse: coarse.npz}"
    shares = [(source.name, source.share, source.class_uniform) for source in read_mixture(write(folder, text)).sources]
    assert shares == [("fine", 0.4, 0.0), ("vistas", 0.4, 1.0), ("coarse", 0.2, 1.0)]


def test_what_a_source_says_goes_before_its_preset(folder):
    text = (
        "preset: seethroughnet\n"
        "sources: {fine: {index: fine.npz, share: 0.7}, vistas: {index: vistas.npz, share: 0.1, class_weights: "
        "{class 1: 5}}, coarse: {index: coarse.npz, center: centroid}}"
    )
    fine, vistas, coarse = read_mixture(write(folder, text)).sources
    assert (fine.share, vistas.share, coarse.share) == (Fraction(7, 10), Fraction(1, 10), 0.2)
    assert (vistas.class_weights, vistas.class_uniform, coarse.center) == ({"class 1": 5.0}, 1.0, "centroid")


def test_the_papers_mixture_draws_1190_1190_and_595():
    sources = preset_sources("seethroughnet", {name: even_index(9) for name in ("fine", "vistas", "coarse")})
    drawn = [draw.source for draw in MixedClassUniformSampler(sources, epoch_size=2975)]
    assert [drawn.count(source) for source in range(3)] == [1190, 1190, 595]


def test_the_reference_scheme_draws_half_by_class_on_centers_of_mass():
    sources = preset_sources("hmsa", {"images": even_index(9)})
    draws = list(MixedClassUniformSampler(sources, epoch_size=100))
    assert sum(draw.class_id is not None for draw in draws) == 50
    assert sources[0].center == "centroid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: {}", "sources: {} has too few values. Expected are 1 or more"),
        ("sources: {a: 3}", r"sources\.a: 3 is not a section"),
        ("sources: {a: {share: 1}}", r"sources\.a\.index: has no value"),
        ("sources: {a: {index: fine.npz, share: lots}}", "share: 'lots' is not a number"),
        ("sources: {a: {index: fine.npz, share: true}}", "share: true is a truth value"),
        (
            "sources: {a: {index: fine.npz, share: 1, class_unifrom: 1}}",
            "class_unifrom' is not known.*class_uniform",
        ),
        ("sources: {a: {index: 3, share: 1}}", r"sources\.a\.index: 3 is not a path\. Change it there\.$"),
        ("sources: {a: {index: none.npz, share: 1}}", r"none\.npz: no such file"),
        (
            "sources: {a: {index: fine.npz, share: 1, class_weights: 3}}",
            r"sources\.a\.class_weights: 3 is not a section",
        ),
        ("soruces: {}", "key 'soruces' is not known.*sources"),
        (
            "sources: {a: {index: fine.npz, share: 1}}\nepoch_size: 0",
            "epoch_size: 0 is out of range. Expected is 1 or more",
        ),
        ("preset: other\nsources: {fine: fine.npz}", "preset: 'other' is not offered"),
        ("preset: hmsa\nsources: {fine: fine.npz}", "preset 'hmsa': takes the sources images; given are fine"),
        ("- a", "at the top"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_one_line(folder, text, message):
    with pytest.raises(SegdataError, match=message) as caught:
        read_mixture(write(folder, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "share", "class_uniform"),
    [("a={}:0.4", "2/5", 0), ("a={}:2/5:1", "2/5", 1), ("a={}:0.4:0.5", "2/5", "1/2")],
)
def test_a_source_can_be_written_in_a_word(folder, text, share, class_uniform):
    source = parse_source(text.format(folder / "fine.npz"))
    assert (source.name, source.share, source.class_uniform) == ("a", Fraction(share), Fraction(class_uniform))


@pytest.mark.parametrize("text", ["fine.npz:0.4", "a=fine.npz", "a=:0.4", "=fine.npz:1", "a=fine.npz:much"])
def test_a_word_that_is_no_source_is_refused(text):
    with pytest.raises(SettingsError, match="expected NAME=INDEX:SHARE"):
        parse_source(text)

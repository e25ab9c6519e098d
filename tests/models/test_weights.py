import pickle
import struct
import sys

import pytest
import torch
from safetensors.torch import save_file

from segdata.errors import SegdataError, SettingsError
from segdata.models import build_backbone, build_model, load_weights, read_weights


def published(name, seed=1):
    """Return weights for a tiny backbone as a publisher would hold them: random, in its own keys."""
    torch.manual_seed(seed)
    return {key: torch.rand(value.shape) for key, value in build_backbone(name).state_dict().items()}


def assert_loaded(backbone, weights):
    torch.testing.assert_close(
        {key: value for key, value in backbone.state_dict().items() if value.is_floating_point()},
        {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")},
    )


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_file_fills_the_backbone_whatever_its_name_says(save, tmp_path):
    weights, backbone = published("hrnet_tiny"), build_backbone("hrnet_tiny")
    save(weights, tmp_path / "weights.bin")
    report = load_weights(backbone, tmp_path / "weights.bin")
    assert_loaded(backbone, weights)
    assert set(report.loaded) == set(weights)
    assert (report.unused, report.kept) == ((), ())


def test_old_torch_files_without_a_zip_container_are_read(tmp_path):
    torch.save(published("resnet_tiny"), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    backbone = build_backbone("resnet_tiny")
    load_weights(backbone, tmp_path / "old.pth")
    assert_loaded(backbone, published("resnet_tiny"))


def test_the_publishers_classifier_is_listed_as_unused(tmp_path):
    parts = ("incre_modules.0.0.conv1.weight", "downsamp_modules.0.0.bias", "final_layer.0.bias", "classifier.weight")
    torch.save(published("hrnet_tiny") | {key: torch.zeros(1) for key in parts}, tmp_path / "w.pth")
    report = load_weights(build_backbone("hrnet_tiny"), tmp_path / "w.pth")
    assert set(report.unused) == set(parts)
    assert str(report).endswith("4 unused (classifier, downsamp_modules, final_layer, incre_modules)")


def test_files_from_before_the_batch_counters_load(tmp_path):
    weights = {key: value for key, value in published("hrnet_tiny").items() if "num_batches" not in key}
    torch.save(weights, tmp_path / "w.pth")
    report = load_weights(build_backbone("hrnet_tiny"), tmp_path / "w.pth")
    assert report.kept
    assert all(key.endswith("num_batches_tracked") for key in report.kept)


def test_mmsegmentations_names_of_the_deep_stem_are_known(tmp_path):
    weights = published("resnet_tiny")
    renamed = {key.replace("conv1.", "stem.", 1) if key.startswith("conv1.") else key: v for key, v in weights.items()}
    renamed = {key.replace("bn1.", "stem.7.", 1) if key.startswith("bn1.") else key: v for key, v in renamed.items()}
    assert "stem.0.weight" in renamed
    assert "stem.7.running_mean" in renamed
    torch.save({"state_dict": renamed}, tmp_path / "w.pth")
    backbone = build_backbone("resnet_tiny")
    load_weights(backbone, tmp_path / "w.pth")
    assert_loaded(backbone, weights)


def test_the_backbone_is_taken_out_of_a_whole_model_and_the_rest_listed(tmp_path):
    weights = published("hrnet_tiny")
    whole = {f"module.backbone.{key}": value for key, value in weights.items()} | {"module.head.bias": torch.zeros(3)}
    torch.save({"model": whole, "epoch": 3}, tmp_path / "w.pth")
    backbone = build_backbone("hrnet_tiny")
    assert load_weights(backbone, tmp_path / "w.pth").unused == ("head.bias",)
    assert_loaded(backbone, weights)


def test_missing_unexpected_and_misshapen_keys_are_all_listed_and_nothing_is_loaded(tmp_path):
    weights = published("hrnet_tiny")
    del weights["bn2.bias"], weights["layer1.0.bn1.weight"]
    weights |= {"bn2.biass": torch.zeros(16), "conv1.weight": torch.zeros(1, 2)}
    torch.save(weights, tmp_path / "w.pth")
    backbone = build_backbone("hrnet_tiny")
    before = backbone.bn1.weight.clone()
    message = (
        r"w\.pth: its keys do not fit HRNet: 2 missing \(bn2\.bias, layer1\.0\.bn1\.weight\); 1 unexpected "
        r"\(bn2\.biass\); 1 of another shape \(conv1\.weight \(1, 2\), expected \(16, 3, 3, 3\)\)\. Name the file"
    )
    with pytest.raises(SegdataError, match=message):
        load_weights(backbone, tmp_path / "w.pth")
    assert torch.equal(backbone.bn1.weight, before)


def test_keys_left_out_on_purpose_keep_their_value(tmp_path):
    settings = {"backbone": "hrnet_tiny"}
    torch.save(build_model("hrnet", 5, **settings).state_dict(), tmp_path / "w.pth")
    model = build_model("hrnet", 7, **settings)
    report = load_weights(model, tmp_path / "w.pth", skip=["head.classifier."])
    assert report.kept == ("head.classifier.bias", "head.classifier.weight")
    assert set(report.unused) == set(report.kept)


def test_build_model_fills_the_backbone(tmp_path):
    save_file(published("resnet_tiny"), tmp_path / "w.safetensors")
    model = build_model("fcn", 3, backbone="resnet_tiny", weights=str(tmp_path / "w.safetensors"))
    assert_loaded(model.backbone, published("resnet_tiny"))


class Bomb:
    """Would make a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("dump", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))], ids=["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(dump, tmp_path):
    dump({"conv1.weight": Bomb(tmp_path / "ran")}, tmp_path / "hostile.pth")
    with pytest.raises(SegdataError, match=r"hostile\.pth: is damaged, or holds more than tensors.*best \.safetensors"):
        read_weights(tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["torch", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_a_cut_file_is_one_line(save, share, tmp_path):
    path = tmp_path / "cut.pth"
    save(published("hrnet_tiny"), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SegdataError, match=r"^[^\n]*cut\.pth: is [^\n]*$"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"\0" * 8 + b"{", struct.pack("<Q", 2**60) + b"{}", b"<html>not found", b"PK\3\4x"]
)
def test_what_is_no_weight_file_is_one_line(content, tmp_path):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(SegdataError, match=r"^[^\n]*w\.pth: is [^\n]*$"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], {"a": 1}, {"state_dict": {"a": {"b": torch.zeros(1)}}}])
def test_a_file_without_weights_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(SegdataError, match=r"w\.pth: holds no weights: a dict of tensors is expected"):
        read_weights(tmp_path / "w.pth")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    torch.save(published("hrnet_tiny") | {"bn1.bias": torch.full((16,), float("nan"))}, tmp_path / "w.pth")
    with pytest.raises(SegdataError, match=r"w\.pth: 1 tensors hold NaN or infinity \(bn1\.bias\)\. Fetch it again\."):
        load_weights(build_backbone("hrnet_tiny"), tmp_path / "w.pth")


def test_a_tensor_that_claims_to_be_huge_is_refused_by_its_shape(tmp_path):
    torch.save(published("hrnet_tiny") | {"bn1.bias": torch.zeros(1).expand(2**50)}, tmp_path / "w.pth")
    with pytest.raises(SegdataError, match=r"1 of another shape \(bn1\.bias \(1125899906842624,\), expected \(16,\)\)"):
        load_weights(build_backbone("hrnet_tiny"), tmp_path / "w.pth")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(SegdataError, match=r"nowhere/w\.pth: no such weight file\. Check `weights`\."):
        read_weights("nowhere/w.pth")


def test_a_hub_name_without_a_repository_is_refused():
    with pytest.raises(SettingsError, match=r"'hf:timm' names no file\. Write hf:OWNER/REPO/FILE"):
        read_weights("hf:timm")


def test_the_hub_is_named_as_an_extra_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # an import of it then fails, as where it is not there
    with pytest.raises(SettingsError, match=r"needs huggingface_hub\. Install it with: pip install 'segdata\[hub\]'"):
        read_weights("hf:timm/hrnet_w48.ms_in1k")


def test_a_file_of_the_hub_is_found_in_its_cache(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--owner--repo"
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    save_file({"a": torch.ones(2)}, repo / "snapshots" / commit / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(read_weights("hf:owner/repo")["a"], torch.ones(2))
    with pytest.raises(SegdataError, match=r"^hf:owner/repo/other\.pth: cannot be fetched: [^\n]*give its path\.$"):
        read_weights("hf:owner/repo/other.pth")

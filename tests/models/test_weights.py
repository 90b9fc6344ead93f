import functools
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy

from hpa_lib import models
from hpa_lib.models import inception_v2, layers, tensor_files, weights

FIXTURES = Path(__file__).parents[1] / "fixtures"
SLIM = FIXTURES / "inception_v2_slim_quarter" / "inception_v2.ckpt"
TORCH = FIXTURES / "resnet18_narrow" / "resnet18.safetensors"
STEM = "InceptionV2/Conv2d_1a_7x7"


def inception(**options):
    return models.MODELS["inception_v2"](**{"image_size": 96, "channels": "rgb", "width": 0.25, **options})


def resnet(**options):
    return models.MODELS["resnet18"](**{"image_size": 96, "channels": "rgb", "width": 1 / 16, **options})


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def outputs_after(model, layer_name, values, wanted):
    """The outputs of the layers ``wanted`` when ``layer_name`` gives ``values``."""
    part = keras.Model(model.get_layer(layer_name).output, [model.get_layer(name).output for name in wanted])
    return [keras.ops.convert_to_numpy(value) for value in part(values, training=False)]


@pytest.fixture(autouse=True)
def no_weights_around(monkeypatch, tmp_path):
    """No test sees the weights, the switches or the network of the machine it runs on."""
    monkeypatch.delenv("HPA_ONLINE", raising=False)
    monkeypatch.delenv("HPA_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "data" / "weights")


@pytest.mark.parametrize("stem_norm", [False, True])
def test_inception_equals_slim_at_every_endpoint(stem_norm):
    model = inception(num_labels=11, stem_norm=stem_norm)
    assert weights.load(model, SLIM) == []
    expected = np.load(SLIM.with_name("expected.npz"))
    endpoints = [name for name in expected.files if name not in ("input", "Logits")]
    assert len(endpoints) == 6
    found = outputs_after(model, "normalise", expected["input"], [*endpoints, "logits"])
    for name, values in zip([*endpoints, "Logits"], found, strict=True):
        assert relative_error(values, expected[name]) < 1e-4, name


def write_slim(path, change):
    """A copy of the checkpoint as safetensors, its tensors changed by ``change(tensors)``."""
    tensors = tensor_files.read(SLIM)
    change(tensors)
    safetensors.numpy.save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    return path


def give_stem_a_norm(tensors):
    random = np.random.default_rng(0)
    bias = tensors.pop(f"{STEM}/biases")
    tensors[f"{STEM}/BatchNorm/beta"] = bias
    tensors[f"{STEM}/BatchNorm/moving_mean"] = random.normal(0, 0.1, bias.shape).astype("float32")
    tensors[f"{STEM}/BatchNorm/moving_variance"] = random.uniform(0.5, 2, bias.shape).astype("float32")


def test_a_stem_with_batch_norm_loads_into_both_kinds_of_model(tmp_path):
    path = write_slim(tmp_path / "normed.safetensors", give_stem_a_norm)
    assert inception_v2.stem_kind(tensor_files.read(path)) == "BatchNorm"
    assert inception_v2.stem_kind(tensor_files.read(SLIM)) == "biases"
    image = np.load(SLIM.with_name("expected.npz"))["input"]
    found = []
    for stem_norm in (True, False):
        model = inception(stem_norm=stem_norm)
        unused = weights.load(model, path)
        assert unused == ["InceptionV2/Logits/Conv2d_1c_1x1/biases", "InceptionV2/Logits/Conv2d_1c_1x1/weights"]
        found.append(outputs_after(model, "normalise", image, ["Conv2d_1a_7x7", "Mixed_5c"]))
    for kept, folded in zip(*found, strict=True):
        assert relative_error(folded, kept) < 1e-5
    plain = outputs_after(inception(), "normalise", image, ["Conv2d_1a_7x7"])[0]
    assert relative_error(found[0][0], plain) > 0.1  # the weights did change the output


@pytest.mark.parametrize("size", [96, 65])
def test_resnet_equals_the_torch_fixture(size):
    expected = np.load(TORCH.with_name("expected.npz"))
    model = resnet(image_size=size)
    unused = weights.load(model, TORCH)
    assert len(unused) == 20 and all(name.endswith("num_batches_tracked") for name in unused)
    images = np.concatenate([expected[f"images_{size}"], np.full((2, size, size, 1), 9, np.uint8)], axis=-1)
    assert relative_error(model.predict(images, verbose=0), expected[f"logits_{size}"]) < 1e-4


def test_resnet_of_full_width_equals_torch_at_odd_sizes(tmp_path):
    pytest.importorskip("torch")
    import safetensors.torch
    import torch_resnet18

    network = torch_resnet18.random_network(num_labels=28)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "resnet18.safetensors")
    for size in (224, 225, 96):
        model = models.MODELS["resnet18"](image_size=size, channels="rgb")
        weights.load(model, tmp_path / "resnet18.safetensors")
        images = np.random.default_rng(size).integers(0, 256, (1, size, size, 4), np.uint8)
        expected = torch_resnet18.logits_of(network, images[..., :3])
        assert relative_error(model.predict(images, verbose=0), expected) < 1e-4, size


def test_a_thousand_classes_are_named_as_unused(tmp_path):
    tensors = safetensors.numpy.load_file(TORCH)
    tensors["fc.weight"], tensors["fc.bias"] = np.zeros((1000, 32), "float32"), np.zeros(1000, "float32")
    safetensors.numpy.save_file(tensors, tmp_path / "many.safetensors")
    model = resnet()
    before = model.get_layer("logits").get_weights()[0]
    assert {"fc.weight", "fc.bias"} <= set(weights.load(model, tmp_path / "many.safetensors"))
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], before)


CASES = {  # how to build it, load it, and from which file
    "resnet18": (resnet, weights.load, TORCH),
    "inception_v2": (inception, weights.load, SLIM),
}


@pytest.mark.parametrize("name", CASES)
def test_without_yellow_four_channels_give_what_three_did(name):
    make, load, path = CASES[name]
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 4), np.uint8)
    three, four = make(channels="rgb", num_labels=28), make(channels="rgby", num_labels=28)
    load(three, path)
    load(four, path)
    four.get_layer("logits").set_weights(three.get_layer("logits").get_weights())
    with_yellow = four.predict(images, verbose=0)
    images[..., 3] = 0
    expected = three.predict(images, verbose=0)
    assert relative_error(four.predict(images, verbose=0), expected) < 1e-5
    assert relative_error(with_yellow, expected) > 1e-3  # and yellow does count


def test_densenet121_from_the_file_that_keras_reads(tmp_path):
    source = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 64, 3))
    random = np.random.default_rng(3)
    for variable in source.weights:
        if variable.name in ("beta", "moving_mean"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    source.save(tmp_path / "densenet121.h5")
    images = random.integers(0, 256, (1, 64, 64, 4), np.uint8)
    images[..., 3] = 0
    pixels = (images[..., :3] / 255 - layers.IMAGENET_MEAN) / layers.IMAGENET_STD
    expected = source.predict(pixels.astype("float32"), verbose=0)
    for channels in ("rgb", "rgby"):
        model = models.MODELS["densenet121"](image_size=64, channels=channels)
        assert weights.load(model, tmp_path / "densenet121.h5") == []
        features = keras.Model(model.input, model.get_layer("relu").output).predict(images, verbose=0)
        assert relative_error(features, expected) < 1e-4, channels


def cut(path, target, share):
    content = Path(path).read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files_are_refused_and_change_nothing(share, tmp_path):
    for make, load, path in CASES.values():
        model = make()
        before = model.get_weights()
        broken = cut(path, tmp_path / f"{share}{path.suffix}", share)
        with pytest.raises(ValueError, match="is truncated or no .*: fetch it again"):
            load(model, broken)
        assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_a_truncated_densenet121_file_is_refused(tmp_path):
    broken = tmp_path / "densenet121.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="is truncated or no DenseNet121 notop file"):
        weights.load(models.MODELS["densenet121"](image_size=32, width=0.01), broken)


def test_wrong_shapes_and_missing_tensors_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"'conv1.weight' has shape \(8, 3, 7, 7\).*build the model with the file's"):
        weights.load(resnet(width=0.5), TORCH)
    with pytest.raises(ValueError, match="has shape .*: build the model with the file's width"):
        weights.load(inception(width=0.5), SLIM)
    with pytest.raises(ValueError, match="lacks .* tensors, first '.*': it belongs to another network"):
        weights.load(inception(), write_slim(tmp_path / "a.safetensors", lambda t: t.pop(f"{STEM}/pointwise_weights")))
    with pytest.raises(ValueError, match="no biases and no BatchNorm on"):
        weights.load(inception(), TORCH)
    norm = "InceptionV2/Conv2d_2b_1x1/BatchNorm"
    scaled = write_slim(tmp_path / "b.safetensors", lambda t: t.update({f"{norm}/gamma": np.full(16, 2, "float32")}))
    with pytest.raises(ValueError, match="gamma scales"):
        weights.load(inception(), scaled)


def test_pickles_are_refused_unopened(tmp_path):
    path = tmp_path / "resnet18.pth"
    path.write_bytes(b"anything")
    with pytest.raises(ValueError, match="may hold a pickle"):
        weights.load(resnet(), path)
    with pytest.raises(FileNotFoundError, match="no weight file"):
        weights.load(resnet(), tmp_path / "absent.safetensors")


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_inception_from_an_archive(tmp_path):
    archive = write_archive(tmp_path / "slim.tar.gz", {"../../evil": b"x", "./inception_v2.ckpt": SLIM.read_bytes()})
    first, other = inception(num_labels=11), inception(num_labels=11)
    assert weights.load(first, archive) == weights.load(other, SLIM) == []
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), other.get_weights(), strict=True))
    assert {path.name for path in tmp_path.iterdir()} == {"slim.tar.gz"}
    with pytest.raises(ValueError, match="is truncated or no tar.gz archive"):
        weights.load(first, cut(archive, tmp_path / "cut.tar.gz", 0.5))
    with pytest.raises(ValueError, match="holds 0 .ckpt files"):
        weights.load(first, write_archive(tmp_path / "empty.tar.gz", {"readme": b""}))


def test_a_checkpoint_without_tensorflow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="install tensorflow to read it"):
        tensor_files.read(SLIM)


def test_find_goes_from_argument_to_environment_to_project(tmp_path, monkeypatch):
    assert weights.find("densenet") is None
    assert weights.find("resnet18") is None
    assert weights.find("resnet18", TORCH) == TORCH.resolve()
    project = tmp_path / "data" / "weights" / "resnet18.safetensors"
    project.parent.mkdir(parents=True)
    project.write_bytes(TORCH.read_bytes())
    assert weights.find("resnet18") == project
    monkeypatch.setenv("HPA_WEIGHTS", str(tmp_path / "own"))
    assert weights.find("resnet18") == project
    file = tmp_path / "own" / "resnet18.a1_in1k.safetensors"
    file.parent.mkdir()
    file.write_bytes(TORCH.read_bytes())
    assert weights.find("resnet18") == file
    with pytest.raises(FileNotFoundError, match="leave the path empty to search"):
        weights.find("resnet18", tmp_path / "absent.safetensors")


def test_nothing_is_fetched_unless_allowed(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(weights, "_fetch_from_hub", refuse)
    monkeypatch.setattr(weights, "_fetch", refuse)
    for name in models.MODELS:
        assert weights.find(name) is None
    monkeypatch.setenv("HPA_ONLINE", "1")
    with pytest.raises(AssertionError, match="the network was asked"):
        weights.find("inception_v2")
    assert weights.find("inception_v2", online=False) is None


def serve(monkeypatch, tmp_path, content, checksum=""):
    """Let the public Inception archive lie on the local disk."""
    origin = tmp_path / "origin.tar.gz"
    origin.write_bytes(content)
    source = {**weights.SOURCES["inception_v2"], "address": origin.as_uri(), "checksum": checksum}
    monkeypatch.setitem(weights.SOURCES, "inception_v2", source)


def test_download_is_whole_checked_and_found_again(tmp_path, monkeypatch):
    content = write_archive(tmp_path / "a.tar.gz", {"inception_v2.ckpt": SLIM.read_bytes()}).read_bytes()
    serve(monkeypatch, tmp_path, content, "sha256:" + hashlib.sha256(content).hexdigest())
    found = weights.find("inception_v2", online=True)
    assert found == tmp_path / "data" / "weights" / "inception_v2_2016_08_28.tar.gz"
    assert found.read_bytes() == content
    assert [path.name for path in found.parent.iterdir()] == [found.name]
    assert weights.find("inception_v2") == found


def test_a_wrong_checksum_leaves_no_file(tmp_path, monkeypatch):
    serve(monkeypatch, tmp_path, b"something else", "md5:" + "0" * 32)
    with pytest.raises(ValueError, match="has md5 .*, not 0000.*: fetch it again"):
        weights.download("inception_v2")
    assert not list((tmp_path / "data" / "weights").iterdir())


def test_an_unreachable_address_leaves_no_file_and_names_the_place(tmp_path):
    target = tmp_path / "weights" / "file"
    with pytest.raises(ConnectionError, match="cannot be downloaded .*: fetch it by hand to"):
        weights._fetch((tmp_path / "absent").as_uri(), target, "", "inception_v2")
    assert not list(target.parent.iterdir())


def test_a_download_that_breaks_off_leaves_no_file(tmp_path, monkeypatch):
    class Short(io.BytesIO):
        headers = {"Content-Length": "10"}

    monkeypatch.setattr(weights.urllib.request, "urlopen", lambda address, timeout: Short(b"12345"))
    with pytest.raises(ConnectionError, match="broke off after 5 of 10 bytes"):
        weights._fetch("https://example.org/file", tmp_path / "file", "", "inception_v2")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("etag", [hashlib.sha256(TORCH.read_bytes()).hexdigest(), "0" * 64, "short-etag"])
def test_the_hub_is_held_against_its_own_checksum(etag, tmp_path, monkeypatch):
    """Without one, a file must fill the model."""
    import huggingface_hub

    narrow = functools.partial(weights.resnet18.build, width=1 / 16)
    monkeypatch.setattr(weights.resnet18, "build", narrow)

    metadata = type("Metadata", (), {"etag": etag})
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda address, timeout: metadata)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, file_name: str(TORCH))
    if etag == "0" * 64:
        with pytest.raises(ValueError, match="fetch it again"):
            weights.download("resnet18")
        return
    found = weights.find("resnet18", online=True)
    assert found.name == "resnet18.a1_in1k.safetensors" and found.read_bytes() == TORCH.read_bytes()


def test_an_offline_hub_is_one_clear_sentence(tmp_path, monkeypatch):
    import huggingface_hub

    def fail(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    with pytest.raises(ConnectionError, match=r"timm/resnet18.a1_in1k cannot be fetched .*no network.*: copy it to"):
        weights.download("resnet18")
    record = weights.start(resnet(), path="")
    assert record["weights"] == "from scratch"
    monkeypatch.setenv("HPA_ONLINE", "1")
    assert "no network" in weights.start(resnet())["message"]


def test_a_file_without_a_known_checksum_must_fill_the_model(tmp_path, monkeypatch):
    """Here it is whole, but of a network of another width."""
    content = write_archive(tmp_path / "a.tar.gz", {"inception_v2.ckpt": SLIM.read_bytes()}).read_bytes()
    serve(monkeypatch, tmp_path, content)
    with pytest.raises(ValueError, match="build the model with the file's width"):
        weights.download("inception_v2")
    assert not list((tmp_path / "data" / "weights").iterdir())
    monkeypatch.setattr(weights.inception_v2, "build", functools.partial(weights.inception_v2.build, width=0.25))
    assert weights.download("inception_v2").read_bytes() == content


def test_status_has_a_row_for_each_model(tmp_path):
    rows = {row["model"]: row for row in weights.status()}
    assert set(rows) == set(models.MODELS)
    assert rows["resnet18"]["present"] == "no" and "hpa weights --fetch resnet18" in rows["resnet18"]["how"]
    project = tmp_path / "data" / "weights" / "inception_v2.ckpt"
    project.parent.mkdir(parents=True)
    project.write_bytes(SLIM.read_bytes())
    rows = {row["model"]: row for row in weights.status()}
    assert rows["inception_v2"]["present"] == "yes" and rows["inception_v2"]["path"] == str(project)


def test_start_says_what_the_model_really_got(tmp_path, monkeypatch):
    missing = weights.start(resnet())
    assert missing["weights"] == "from scratch"
    assert missing["message"].startswith("NO PRETRAINED WEIGHTS for resnet18") and "FROM SCRATCH" in missing["message"]
    assert missing["message"].endswith("`hpa weights --fetch resnet18` gets them.") and "\n" not in missing["message"]
    assert weights.start(resnet(), pretrained=False)["message"] == "resnet18 starts from random weights, as asked."
    densenet = models.MODELS["densenet"](image_size=64)
    assert "no public weights" in weights.start(densenet)["message"]
    with pytest.raises(ValueError, match="densenet takes no weight file, but WEIGHTS names nope.h5: leave it empty"):
        weights.start(densenet, path="nope.h5")  # would have trained from scratch without a word in the record
    loaded = weights.start(inception(), path=SLIM)
    assert loaded["weights"] == "own file" and loaded["file"] == str(SLIM.resolve()) and len(loaded["unused"]) == 2
    assert "stem came with biases" in loaded["message"]
    assert "ImageNet" not in loaded["message"]
    (tmp_path / "resnet18.safetensors").write_bytes(TORCH.read_bytes())
    monkeypatch.setenv("HPA_WEIGHTS", str(tmp_path))
    assert weights.start(resnet())["weights"] == "ImageNet"

"""Files of torch.save are read without running anything in them; other files are called by their name."""

import argparse
import collections
import copy
import gzip
import io
import pickle
import random
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.models.torch_files import read_torch


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name in names:
            out.writestr(name, b"1")
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as out:
        out.addfile(tarfile.TarInfo("weights.pth"))
    return file.getvalue()


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def scripted():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


OTHERS = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "git_lfs": (b"version https://git-lfs.github.com/spec/v1\nsize 4\n", "a Git LFS pointer.*git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s1--0.pth\n", "a git-annex pointer"),
    "html": (b"\n<!DOCTYPE html><html><title>Quota exceeded</title></html>", "an HTML page"),
    "html_bom": (b"\xef\xbb\xbf<HTML>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an HTML page"),
    "json": (b'{"message": "Not Found"}', "JSON, not the file itself; it begins"),
    "long_json": (b'{"keys": [' + b"1, " * 1000 + b"1]}", "JSON"),
    "text": (b"Access denied\n", "text, not the file itself; it begins 'Access denied'"),
    "gzip": (gzip.compress(b"x"), "a gzip archive; unpack"),
    "tar": (tarred(), "a tar archive; unpack"),
    "zip": (archive("readme.txt", "w.pth"), r"a zip archive of other things \(readme.txt, w.pth\)"),
    "npz": (archive("a.npy", "b.npy"), "arrays of NumPy"),
    "npy": (b"\x93NUMPY\x01\x00", "an array of NumPy"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "safetensors": ((2).to_bytes(8, "little") + b"{}", "a safetensors file, .*--weights takes it"),
    "torchscript": (scripted(), "a TorchScript program"),
    "module": (saved(torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear.*save its state_dict"),
    "old_module": (saved(torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False), "Linear.*save its state_dict"),
    "pickled_code": (pickle.dumps(random.Random), "holds more than tensors|cannot be read"),
    "array_of_objects": (saved({"w": np.array(["a", 1], object)}), "ObjectDType.*save its state_dict"),
    "array_of_records": (saved({"w": np.zeros(2, [("a", "f4")])}), "VoidDType.*save its state_dict"),
    "bytes": (bytes(range(256)) * 4, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_called_by_its_name(tmp_path, name):
    content, wanted = OTHERS[name]
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match=f"^weights .*w.pth: .*{wanted}") as error:
        read_torch(tmp_path / "w.pth", "weights")
    message = str(error.value)
    assert "\n" not in message and "weights_only" not in message and "arbitrary" not in message


def test_every_cut_is_one_line(tmp_path):
    path = tmp_path / "w.pth"
    for content in (saved({"w": torch.rand(9)}), saved({"w": torch.rand(9)}, _use_new_zipfile_serialization=False)):
        for end in range(0, len(content) - 1, 7):
            path.write_bytes(content[:end])
            try:
                # A legacy file holds its last tensor at its end; torch may not miss a byte of padding.
                assert set(read_torch(path, "weights")) == {"w"}
            except InputError as error:
                assert "\n" not in str(error) and "weights_only" not in str(error)


@pytest.mark.parametrize("new", [True, False])
def test_harmless_things_beside_weights_are_read(tmp_path, new):
    content = {
        "w": torch.arange(3.0), "scalar": np.float32(0.5), "integer": np.int64(3), "array": np.arange(4.0),
        "half": np.ones(2, np.float16), "flags": np.array([True]), "args": argparse.Namespace(lr=0.1),
        "ordered": collections.OrderedDict(a=1), "none": None, "words": np.array(["a", "bc"]), "word": np.str_("a"),
        "bytes": np.array([b"a"]), "day": np.array(["2026-11-26"], "datetime64[D]"), "wide": np.zeros(2, np.longdouble),
        "complex": np.zeros(2, complex),
    }  # fmt: skip
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    found = read_torch(tmp_path / "w.pth", "weights")
    assert torch.equal(found["w"], content["w"]) and found["scalar"] == 0.5 and found["integer"] == 3
    assert found["words"].tolist() == ["a", "bc"] and found["word"] == "a" and found["wide"].tolist() == [0, 0]
    assert found["array"].tolist() == [0, 1, 2, 3] and found["args"].lr == 0.1 and found["flags"].tolist() == [True]


def test_nothing_in_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    (tmp_path / "w.pth").write_bytes(saved({"w": Evil()}))
    with pytest.raises(InputError, match="holds more than tensors and numbers"):
        read_torch(tmp_path / "w.pth", "weights")
    assert not (tmp_path / "made").exists()


def packed_again(path, content, times=1):
    """A file of torch.save as a program that compresses would have it, each tensor `times` times."""
    with zipfile.ZipFile(io.BytesIO(saved(content))) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            for number in range(times if "/data/" in name else 1):
                out.writestr(name + "x" * number, source.read(name))


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused_unread(tmp_path, monkeypatch):
    packed_again(tmp_path / "w.pth", {"w": torch.rand(10_000)})
    assert read_torch(tmp_path / "w.pth", "weights")["w"].shape == (10_000,)
    packed_again(tmp_path / "w.pth", {"w": torch.zeros(100_000)}, times=3)
    monkeypatch.setattr(torch, "load", None)
    size = (tmp_path / "w.pth").stat().st_size
    with pytest.raises(InputError, match=f"w.pth: it is a zip archive of {size:,} bytes that unpacks to 1,200,"):
        read_torch(tmp_path / "w.pth", "weights")


def test_an_archive_of_one_tensor_under_many_names_is_refused(tmp_path):
    """Nothing is compressed, but thirty entries are said to lie at the same place, and each would be read."""
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as out:
        out.writestr("w/data.pkl", b"")
        out.writestr("w/data/0", bytes(10_000))
        for number in range(1, 30):
            out.filelist.append(copy.copy(out.filelist[1]))
            out.filelist[-1].filename = f"w/data/{number}"
    with pytest.raises(InputError, match="unpacks to 300,000, more than 10 times as many"):
        read_torch(tmp_path / "w.pth", "weights")

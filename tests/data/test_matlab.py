import numpy as np
import pytest

from vreid_fast.data.formats.matlab import LARGEST, read_hdf5_matrix, read_matrix
from vreid_fast.errors import InputError

scipy_io = pytest.importorskip("scipy.io")

MATRICES = {
    "rows": np.arange(-6, 6).reshape(3, 4),
    "one": np.array([[7]], np.uint8),
    "two": np.array([[1, 2]], np.uint16),
    "floats": np.array([[1.0, 2.0], [1e6, -4.0]]),
    "singles": np.array([[3.0], [4.0]], np.float32),
    "long": np.arange(1, 2001).reshape(2, 1000).astype(np.int64),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_every_type_comes_as_it_was_written(tmp_path, compressed):
    others = {"words": "train", "cells": np.array([[1, "a"]], dtype=object), "complex": np.array([[1j]])}
    scipy_io.savemat(tmp_path / "a.mat", {**others, **MATRICES}, do_compression=compressed)
    for name, matrix in MATRICES.items():
        found, table = read_matrix(tmp_path / "a.mat", "absent", name, "rows")
        assert found == name and table.dtype == np.int64 and np.array_equal(table, matrix)
    for name in others:
        with pytest.raises(InputError, match=f"{name} must be a matrix of integers, found something else"):
            read_matrix(tmp_path / "a.mat", name)
    with pytest.raises(InputError, match="wanted the variable x or y, found words, cells, complex, rows"):
        read_matrix(tmp_path / "a.mat", "x", "y")


def test_the_real_tables_as_scipy_reads_them(shared):
    for file in shared("data/mars_meta").rglob("*.mat"):
        content = scipy_io.loadmat(file)
        (key,) = (key for key in content if not key.startswith("__"))
        assert np.array_equal(read_matrix(file, key)[1], content[key]), file


def test_a_big_endian_file(tmp_path):
    tag = np.array([14, 48, 6, 8], ">u4").tobytes()
    flags = np.array([6, 0, 5, 8, 1, 2], ">u4").tobytes()  # class double; dimensions int32, 8 bytes: 1, 2
    name, numbers = b"\x00\x01\x00\x01q\0\0\0", b"\x00\x02\x00\x02\x03\x09\0\0"
    (tmp_path / "a.mat").write_bytes(b" " * 124 + b"\x01\x00MI" + tag + flags + name + numbers)
    assert read_matrix(tmp_path / "a.mat", "q")[1].tolist() == [[3, 9]]


@pytest.mark.parametrize("matrix", [np.array([[0.5]]), np.array([[np.nan]]), np.array([[np.inf]]), np.array([[1e300]])])
def test_numbers_that_are_no_integers(tmp_path, matrix):
    scipy_io.savemat(tmp_path / "a.mat", {"a": matrix})
    with pytest.raises(InputError, match="a must be a matrix of integers; row 1"):
        read_matrix(tmp_path / "a.mat", "a")


def test_damaged_files(tmp_path):
    file = tmp_path / "a.mat"
    for compressed in (False, True):
        scipy_io.savemat(file, MATRICES, do_compression=compressed)
        content = file.read_bytes()
        file.write_bytes(content[:-20])
        with pytest.raises(InputError, match="a.mat: not a readable .mat file"):
            read_matrix(file, "long")
    file.write_bytes(b"<html>")
    with pytest.raises(InputError, match="it does not begin as MATLAB's format 5 does"):
        read_matrix(file, "long")
    file.unlink()
    with pytest.raises(InputError, match="a.mat is missing"):
        read_matrix(file, "long")


def test_a_variable_that_swells_is_refused(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", {"a": np.zeros((1, LARGEST // 8 + 1))}, do_compression=True)
    with pytest.raises(InputError, match="cut short, or of more than"):
        read_matrix(tmp_path / "a.mat", "a")


def test_files_of_other_versions_say_which_and_how_to_save_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    scipy_io.savemat(tmp_path / "old.mat", {"x": np.arange(6.0).reshape(2, 3)}, format="4")
    for block in (0, 512):  # h5py's own files, and MATLAB's
        with h5py.File(tmp_path / f"new{block}.mat", "w", userblock_size=block) as file:
            file["x"] = [[1]]
    for name, version in (("old", "4"), ("new0", "7.3, which is HDF5"), ("new512", "7.3, which is HDF5")):
        with pytest.raises(InputError, match=f"{name}.mat: .*MATLAB's version {version}; .* save it .* -v7"):
            read_matrix(tmp_path / f"{name}.mat", "x")
    scipy_io.savemat(tmp_path / "five.mat", {"x": np.eye(2)})
    with pytest.raises(InputError, match=r"five.mat: it is of MATLAB's version 5 to 7; .* -v7.3"):
        read_hdf5_matrix(tmp_path / "five.mat", "x", 9)

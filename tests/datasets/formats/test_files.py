"""Files below a raw folder and inside archives."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.formats.files import bad_links, check_archive, folder_of, read_file, walk_files
from aclnet.datasets.spec import AclnetError, DamageError

CONTENT = {"a.txt": b"first", "deep/er/b.txt": b"second", "deep/c": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Plain files beside the same ones in an archive, in a subfolder."""
    root = tmp_path / "raw"
    for path, content in CONTENT.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "sub").mkdir()
    with zipfile.ZipFile(root / "sub" / "all.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("deep")
        for path, content in CONTENT.items():
            archive.writestr(path, content)
    return root


def test_files_and_members_are_listed_and_read_alike(folder: Path):
    inside = {f"sub/all.ZIP/{path}": content for path, content in CONTENT.items()}
    expected = CONTENT | inside
    assert dict(walk_files(folder)) == {path: len(data) for path, data in expected.items()}
    for path, content in expected.items():
        assert read_file(folder, path, 6) == content


def test_a_root_that_is_a_file(folder: Path):
    archive, plain = folder / "sub" / "all.ZIP", folder / "a.txt"
    assert dict(walk_files(plain)) == {"a.txt": 5}
    assert read_file(plain, "a.txt", 9) == b"first"
    listed = dict(walk_files(archive))
    assert sorted(listed) == sorted(f"all.ZIP/{path}" for path in CONTENT)
    assert read_file(archive, "all.ZIP/deep/er/b.txt", 9) == b"second"
    assert folder_of(archive) == archive.parent


@pytest.mark.parametrize("path", ["a.txt", "sub/all.ZIP/a.txt"])
def test_what_is_too_long_is_not_read(folder: Path, path: str):
    with pytest.raises(DamageError, match="longer than 4 bytes"):
        read_file(folder, path, 4)


def test_what_an_archive_does_not_hold_is_damage(folder: Path):
    with pytest.raises(DamageError, match="cannot be unpacked"):
        read_file(folder, "sub/all.ZIP/nowhere", 9)


def test_a_file_that_is_gone_is_no_damage(folder: Path):
    """It was listed: a recording is not left out because its disk was taken away."""
    with pytest.raises(FileNotFoundError):
        read_file(folder, "nowhere", 9)


def test_a_file_that_may_not_be_read_is_damage_but_open_files_are_not(folder: Path, monkeypatch):
    def fail(number: int):
        def open_(*_, **__):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "open", open_)

    for number in (errno.EACCES, errno.EIO, errno.EISDIR):
        fail(number)
        with pytest.raises(DamageError, match=f"cannot be read: {os.strerror(number)}"):
            read_file(folder, "a.txt", 9)
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN):
        fail(number)
        with pytest.raises(OSError, match=re.escape(os.strerror(number))):
            read_file(folder, "a.txt", 9)


def test_a_folder_called_like_an_archive(tmp_path: Path):
    (tmp_path / "x.zip").mkdir()
    (tmp_path / "x.zip" / "a").write_bytes(b"1")
    assert dict(walk_files(tmp_path)) == {"x.zip/a": 1}
    assert read_file(tmp_path, "x.zip/a", 1) == b"1"


def test_a_damaged_archive_is_named(folder: Path):
    archive = folder / "sub" / "all.ZIP"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(
        AclnetError, match=r"all\.ZIP is not a valid zip archive .*download it again"
    ):
        list(walk_files(folder))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zip")


@given(data=st.data())
def test_changed_archives_do_no_harm(root: Path, data: st.DataObject):
    file = root / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b", b"content " * 50)
    changed = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(changed)
    try:
        for path, _ in walk_files(root):
            read_file(root, path, 1000)
    except (AclnetError, DamageError):
        pass


def test_an_archive_that_was_replaced_is_read_anew(folder: Path):
    archive = folder / "sub" / "all.ZIP"
    read_file(folder, "sub/all.ZIP/a.txt", 9)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "changed")
    os.utime(archive, ns=(1, 1))
    assert read_file(folder, "sub/all.ZIP/a.txt", 9) == b"changed"


def test_what_readers_of_folders_take(folder: Path):
    check_archive(folder, "files")
    check_archive(folder / "sub" / "all.ZIP", "files")
    with pytest.raises(
        AclnetError,
        match=r"a\.txt is not a folder or a zip of a folder; give .* "
        r"files",
    ):
        check_archive(folder / "a.txt", "files")


def test_a_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AclnetError, match="raw cannot be listed: Permission denied"):
        list(walk_files(folder))


def test_links_to_folders_are_followed_once(folder: Path):
    other = folder.parent / "other"
    (other / "in").mkdir(parents=True)
    (other / "in" / "x").write_bytes(b"12")
    plain = dict(walk_files(folder))
    (folder / "1").symlink_to(other)
    (folder / "2").symlink_to(other / "in")  # listed as 1/in
    (folder / "0").symlink_to(folder / "deep")  # is below the root under its own name
    (other / "in" / "back").symlink_to(other)
    (folder / "file").symlink_to(folder / "a.txt")
    assert dict(walk_files(folder)) == plain | {"1/in/x": 2, "file": 5}
    assert read_file(folder, "1/in/x", 9) == b"12"
    assert bad_links(folder) == []


def test_links_that_lead_nowhere_stop_nothing(folder: Path):
    plain = dict(walk_files(folder))
    (folder / "itself").symlink_to("itself")
    (folder / "deep" / "gone").symlink_to("nowhere")
    (folder / "up").symlink_to("..")
    (folder / "sub" / "round").symlink_to(folder)
    (folder / "null").symlink_to("/dev/null")
    assert dict(walk_files(folder)) == plain
    assert bad_links(folder) == [
        ("deep/gone", "a link that cannot be followed: No such file or directory"),
        ("itself", "a link that cannot be followed: Too many levels of symbolic links"),
        ("null", "a link to something that is not a file or a folder"),
        ("sub/round", "a link to a folder above it"),
        ("up", "a link to a folder above it"),
    ]
    assert bad_links(folder / "a.txt") == []

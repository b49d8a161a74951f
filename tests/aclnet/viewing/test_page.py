"""The page: what is embedded, and that text of files stays text."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

import aclnet
from aclnet.datasets.spec.layouts import get_layout
from aclnet.viewing.camera import camera_for
from aclnet.viewing.forms import Form, ViewSettings, view_sample
from aclnet.viewing.page import assets, form_data, fragment, write_page


class Elements(HTMLParser):
    """Elements of a page, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and data.strip():
            self.scripts.append(data)


def test_the_joints_of_the_store_are_embedded(made_up_store, tmp_path):
    store = aclnet.open_store(made_up_store)
    view = view_sample(store, "S001C001P001R001A050", ViewSettings(drop=("hands",)))
    write_page(view, tmp_path / "page.html")
    page = Elements((tmp_path / "page.html").read_text(encoding="utf-8"))
    data = json.loads(page.scripts[-1])
    stored = store.sequence("S001C001P001R001A050")
    assert [form["behind"] for form in data["forms"]] == [None, None, 1]
    form = data["forms"][1]
    found = np.frombuffer(base64.b64decode(form["values"]), "<f4").reshape(stored.keypoint.shape)
    np.testing.assert_array_equal(found, stored.keypoint)
    assert form["frame"] == stored.frame_index.tolist()
    (layout,) = data["layouts"]
    assert form["layout"] == 0
    assert layout["joints"] == list(store.layout.joints)
    assert [tuple(bone) for bone in layout["bones"]] == list(store.layout.inward)
    assert (form["persons"], form["coordinates"]) == (2, 3)


def test_nothing_comes_from_a_network(made_up_store, tmp_path):
    view = view_sample(aclnet.open_store(made_up_store))
    write_page(view, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Elements(text)
    assert not [name for name, _ in page.attributes if name in ("src", "href")]
    # the namespace of SVG, which is no address to load from
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_text_of_files_is_never_markup(made_up_store, tmp_path):
    view = view_sample(aclnet.open_store(made_up_store))
    evil = "</script><img src=x onerror=alert(1)>&\u2028\"'"
    form = view.forms[0]
    layout = form.layout.model_copy(update={"joints": (evil, *form.layout.joints[1:])})
    view = replace(
        view, title=evil, facts={evil: evil}, forms=[replace(form, layout=layout, title=evil)]
    )
    write_page(view, tmp_path / "page.html")
    page = Elements((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    data = json.loads(page.scripts[-1])
    assert data["title"] == data["layouts"][0]["joints"][0] == evil
    assert ("aria-label", evil) in page.attributes
    script = (files("aclnet.viewing") / "viewer.js").read_text("utf-8")
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script


def test_rounding_moves_no_joint_by_more_than_a_step_and_loses_none():
    joints = np.zeros((1, 2, 25, 3), np.float32)
    joints[0, 0, :2] = [[2, -4, 1], [1e-6, 0, -1e-6]]
    layout = get_layout("nturgb+d")
    form = Form("", "", joints, np.arange(2), layout, camera_for(joints, layout))
    data = form_data(form, [], compact=True)
    steps = np.frombuffer(base64.b64decode(data["values"]), "<i2").reshape(joints.shape)
    assert data["step"] == pytest.approx(4 / 32767)
    assert np.abs(steps * data["step"] - joints).max() <= data["step"]
    np.testing.assert_array_equal(steps.any(axis=-1), joints.any(axis=-1))
    nobody = form_data(replace(form, joints=np.zeros_like(joints)), [], compact=True)
    assert not np.frombuffer(base64.b64decode(nobody["values"]), "<i2").any()
    assert nobody["step"] == 1


def test_a_fragment_goes_into_any_page(made_up_store):
    view = view_sample(aclnet.open_store(made_up_store))
    page = Elements(f"<main>{assets()}{fragment(view)}{fragment(view)}</main>")
    assert page.tags.count("section") == 2
    assert page.tags.count("style") == 1
    assert not {"html", "head", "body"}.intersection(page.tags)

"""The floors of src/, and that the check of them sees what it is to see."""

import floors
import pytest
from harness import ROOT


def test_imports_point_down():
    assert floors.check(floors.sources(ROOT / "src")) == []


def test_every_floor_is_told():
    """lib.rs has them in the order of the check."""
    lines = [line for line in (ROOT / "src/lib.rs").read_text().splitlines() if line.startswith("//! | `")]
    told = [[name.strip(" `") for name in line.split("|")[1].split(",")] for line in lines]
    assert told == [*floors.FLOORS[:-1], *([name] for name in floors.FLOORS[-1])]


@pytest.mark.parametrize(
    "path, text, wrong",
    [
        ("setup/a", "use crate::conf::b;", "src/setup/a.rs:1: setup uses conf::b, which is above it"),
        ("setup/a", "\n\nuse crate::{\n    log,\n    conf,\n};", "src/setup/a.rs:3: setup uses conf, which is above it"),
        ("request", "use crate::answer::{\n    judge,\n};", "src/request.rs:1: request uses answer, which is above it"),
        ("log", "use crate::location::x;", "src/log.rs:1: log uses location::x, which is beside it"),
        ("log", "fn a() {\n    crate::conf::b()\n}", "src/log.rs:2: log uses conf::b, which is above it"),
        ("log", 'let a = format_args!("b");', "src/log.rs:1: what format_args! returns is gone with its statement before Rust 1.89"),
        ("s3/key", "use crate::nginx::pool;", "src/s3/key.rs:1: s3 uses nginx::pool, which is beside it"),
        ("s3/key", "use ngx::ffi::x;", 'src/s3/key.rs:1: s3 is not to know "ngx::"'),
        ("nginx/pool", "// Of the bucket.", 'src/nginx/pool.rs:1: nginx is not to know "bucket"'),
        ("cellar", "", "src/cellar.rs: is on no floor; give it one in tests/floors.py"),
        ("log", "fn a() {\n" + "    b();\n" * 60 + "}", "src/log.rs:1: a has 62 lines, more than 60"),
        ("log", "//\n" * 401, "src/log.rs: has 402 lines beside its tests, more than 400"),
    ],
)
def test_the_check_sees(path, text, wrong):
    assert floors.check({path: text}) == [wrong]


def test_the_check_sees_circles():
    files = {"setup/a": "use super::b::X;", "setup/b": "use crate::setup::c::{Y, Z};", "setup/c": "fn x() { super::a::y() }"}
    assert floors.check(files) == [
        "src/setup/c.rs:1: closes the circle setup/a -> setup/b -> setup/c -> setup/a"]  # fmt: skip
    files["setup/c"] = "// use super::a;\n#[cfg(test)]\nmod tests {\n    use crate::conf;\n    use super::a;\n}"
    assert floors.check(files) == []

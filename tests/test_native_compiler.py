"""A compiler is one that built a library that ran. A choice is kept, a failure says why, no shell runs."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simdl.engine.native import cache
from simdl.engine.native.cache import load
from simdl.engine.native.compiler import FLAGS, OPENMP, find_compiler, why_no_compiler
from simdl.errors import CompileError, RunError
from tests.native_programs import CC, LOAD, SOURCE, counting, lines, loaded, script, started

pytestmark = pytest.mark.skipif(not CC or sys.platform == "win32", reason="needs a C compiler to compare with")


@pytest.fixture(autouse=True)
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for each test."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.delenv("SIMDL_CC", raising=False)
    yield home / "simdl" / "native"
    cache._loaded.clear()


def kept(native: Path) -> list[str]:
    """What is in the cache, but for what is known about compilers."""
    return [path.name for path in native.glob("*") if path.suffix != ".compiler" and path.name != "zig"]


def test_compiler_of_this_machine_builds_what_runs() -> None:
    compiler = find_compiler()
    assert compiler is not None and why_no_compiler() == ""
    assert set(compiler.flags) <= set(FLAGS) and set(compiler.flags) | set(compiler.lacks) == set(FLAGS)
    assert Path(compiler.argv[0]).is_absolute() and compiler.version and compiler.target
    answer = load(SOURCE).answer
    answer.restype, answer.argtypes = ctypes.c_double, [ctypes.c_double]
    assert answer(1.0) == 42.0


def test_products_and_sums_are_rounded_apart() -> None:
    library = load("double f(double a, double b, double c) { return a * b + c; }")
    library.f.restype, library.f.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    a = 1.0 + 2.0**-30
    assert library.f(a, a, -(1.0 + 2.0**-29)) == 0.0  # 2**-60 if the product kept its last bits


def test_a_process_learns_of_the_compiler_from_another(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    cc = script(tmp_path / "mycc", f"echo call >> '{log}'\n{{cc}}\n")
    assert loaded(SIMDL_CC=cc) == ["42.0"]
    calls = lines(log)
    assert loaded(SIMDL_CC=cc) == ["42.0"] and lines(log) == calls > 0
    os.utime(cc, (1.0, 1.0))  # another file of that name
    assert loaded(SIMDL_CC=cc) == ["42.0"] and lines(log) > calls


def test_another_version_behind_a_wrapper_is_tried_and_compiles_anew(tmp_path: Path) -> None:
    version, log = tmp_path / "version", tmp_path / "compiled"
    version.write_text("thing 1\n")
    cc = script(tmp_path / "wrapper", f'[ "$1" = --version ] && exec cat {version}\n'
                f"[ $WANTED = 1 ] && echo >> {log}\n{{cc}}\n")  # fmt: skip
    program = "from simdl.engine.native.compiler import *; print(find_compiler().version)"
    assert loaded(SIMDL_CC=cc) == ["42.0"]
    version.write_text("thing 2\n")
    assert loaded(SOURCE + "\n", SIMDL_CC=cc) == ["42.0"]
    assert started(program, SIMDL_CC=cc).communicate()[0] == "thing 2\n"
    assert loaded(SIMDL_CC=cc) == ["42.0"] and lines(log) == 3


def test_the_next_compiler_is_taken_where_the_first_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "bin" / "cc", "echo no licence >&2; exit 7\n")
    script(tmp_path / "bin" / "gcc", "{cc}\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    compiler = find_compiler()
    assert compiler is not None and (compiler.name, compiler.argv) == ("gcc", (str(tmp_path / "bin" / "gcc"),))


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is not None, reason="ziglang is a compiler")
def test_without_a_compiler_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    with pytest.raises(CompileError, match="none of cc, gcc, clang is on the PATH and ziglang is not") as info:
        load(SOURCE)
    assert "pip install 'simdl[native]'" in info.value.fix and isinstance(info.value, RunError)
    script(tmp_path / "cc", "echo no licence >&2; exit 7\n")
    script(tmp_path / "clang", "exit 0\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")  # another PATH is another search
    assert why_no_compiler() == "cc: ended with 7: no licence; clang: reported success and wrote no library"


@pytest.mark.parametrize("choice", ["", "none", " "])
def test_empty_and_none_switch_it_off(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMDL_CC", choice)
    assert find_compiler() is None
    with pytest.raises(CompileError, match="switched off by SIMDL_CC="):
        load(SOURCE)


@pytest.mark.parametrize(
    "text",
    ["cc; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "cc -fplugin=./evil.so", "cc && touch PWNED",
     "| touch PWNED", "cc\ntouch PWNED", "-c", "/etc/passwd", ".", "x" * 5000],
)  # fmt: skip
def test_no_shell_reads_the_choice(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMDL_CC", text)
    assert find_compiler() is None
    assert "is not a program: give one path or name" in why_no_compiler()
    assert not list(tmp_path.rglob("PWNED"))


def test_a_path_may_hold_what_a_shell_would_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cc = script(tmp_path / "a b; touch PWNED; $(touch PWNED) 'c\"" / "cc", "{cc}\n")
    assert loaded(SIMDL_CC=cc) == ["42.0"]
    assert not list(tmp_path.rglob("PWNED"))


def test_a_program_in_the_present_folder_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "cc", f"touch '{tmp_path / 'PWNED'}'\n{{cc}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    compiler = find_compiler()
    assert compiler is not None and compiler.argv == (CC,)
    assert load(SOURCE) and not (tmp_path / "PWNED").exists()


def test_the_compiler_sees_no_input_and_a_clean_environment(tmp_path: Path, native: Path) -> None:
    log = tmp_path / "environment"
    cc = script(tmp_path / "nosy", f"[ $WANTED = 1 ] && {{ env; pwd; cat; echo end; }} > {log}\n{{cc}}\n")
    spoilt = {"CPATH": "/evil", "LIBRARY_PATH": "/evil", "GCC_EXEC_PREFIX": "/evil", "SECRET": "evil"}
    assert loaded(SIMDL_CC=cc, **spoilt) == ["42.0"]
    text = log.read_text()
    assert "evil" not in text and text.endswith("\nend\n")
    assert f"TMPDIR={native}/.work-" in text and f"\n{native}/.work-" in text


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "if [ $WANTED = 1 ]; then for i in $(seq 100); do echo source.c:$i: wrong >&2; done; exit 3; fi\n{cc}\n"
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "strict", body))
    with pytest.raises(CompileError) as info:
        load(SOURCE)
    assert info.value.found.startswith("ended with 3: source.c:1: wrong\nsource.c:2: wrong\n")
    assert "source.c:9:" not in str(info.value) and "strict" in info.value.where and "SIMDL_CC" in info.value.fix
    assert kept(native) == []


def test_a_mistake_in_the_source_is_quoted_from_the_real_compiler(native: Path) -> None:
    with pytest.raises(CompileError, match="source.c:1.*error") as info:
        load("double answer(double x) { return x + missing; }")
    assert "missing" in info.value.found and kept(native) == []


def test_a_compiler_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    body = f"[ $WANTED = 1 ] && {{ sleep 1000 & echo $! > {pid}; wait; }}\n{{cc}}\n"
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "slow", body))
    monkeypatch.setenv("SIMDL_CC_TIMEOUT", "1.5")
    with pytest.raises(CompileError, match=r"did not end within 1\.5 s"):
        load(SOURCE)
    for _ in range(100):  # the system needs a moment to end it
        if not alive(int(pid.read_text())):
            break
        time.sleep(0.05)
    assert not alive(int(pid.read_text())) and kept(native) == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "ending, found",
    [("echo not a library > library.so; exit 0", "wrote what cannot be loaded"),
     ("head -c 2000 $(command -v sh) > library.so; exit 0", "wrote what cannot be loaded"),
     (": > library.so; exit 0", "wrote what cannot be loaded"),
     ("exit 0", "reported success and wrote no library"),
     ("kill -SEGV $$", "was ended by signal 11")],
)  # fmt: skip
def test_what_is_no_library_is_not_kept(
    ending: str, found: str, tmp_path: Path, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "broken", f"if [ $WANTED = 1 ]; then {ending}; fi\n{{cc}}\n"))
    with pytest.raises(CompileError, match=found):
        load(SOURCE)
    assert kept(native) == []


def test_a_compiler_whose_trial_is_garbage_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = '[ "$1" = --version ] && { echo fine 1.0; exit 0; }\necho garbage > library.so\n'
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "liar", body))
    assert find_compiler() is None and "wrote what cannot be loaded" in why_no_compiler()


def test_flags_that_a_compiler_does_not_know_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = ('case "$*" in *-fopenmp*) echo unsupported option -fopenmp >&2; exit 1;;\n'
            "*-mprefer-vector-width*) echo what? >&2; exit 1;; esac\n{cc}\n")  # fmt: skip
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "small", body))
    compiler = find_compiler()
    assert compiler is not None and compiler.lacks == ("-mprefer-vector-width=512", OPENMP)
    assert load(SOURCE).answer


def test_instructions_that_this_machine_lacks_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = "double simdl_trial(double x) { __builtin_trap(); }"
    build = f"echo '{trap}' > t.c; exec {CC} -shared -fPIC -o library.so t.c"
    body = f'case "$*" in *-march=native*) {build};; esac\n{{cc}}\n'
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "wrong", body))
    compiler = find_compiler()
    assert compiler is not None and compiler.lacks == ("-march=native",)


def test_without_openmp_the_flag_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cc, log = counting(tmp_path)
    monkeypatch.setenv("SIMDL_CC", cc)
    source = "int answer(void) {\n#ifdef _OPENMP\nreturn 1;\n#else\nreturn 0;\n#endif\n}"
    compiler = find_compiler()
    assert compiler is not None
    assert load(source).answer() == (OPENMP in compiler.flags) and load(source, openmp=False).answer() == 0
    assert load(source, flags=("-U_OPENMP", "-DMORE=1")).answer() == 0 and lines(log) == 3


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
def test_ziglang_stands_in_for_a_compiler(tmp_path: Path) -> None:
    assert started(LOAD, SOURCE, PATH=str(tmp_path)).communicate()[0] == "42.0\n"

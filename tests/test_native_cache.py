"""A library from the cache is what was compiled, by this user, for this machine; else it is compiled, never loaded."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simdl.doctor import Finding, examine
from simdl.engine.native import cache
from simdl.engine.native.cache import clear_cache, contents, load
from simdl.engine.native.folder import distrust
from simdl.engine.native.library import _from_file
from simdl.engine.native.sealed import Record, read, write
from simdl.errors import CompileError, RunError
from tests.native_programs import CC, EVIL, LOAD, ROOT, SOURCE, counting, lines, loaded, said, script, started

pytestmark = pytest.mark.skipif(not CC or sys.platform == "win32", reason="needs a C compiler to compare with")
NOBODY = 65534
needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for each test."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    yield tmp_path / "home" / "simdl" / "native"
    cache._loaded.clear()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line for each compilation of this test."""
    compiler, log = counting(tmp_path)
    monkeypatch.setenv("SIMDL_CC", compiler)
    return log


def answer(library: ctypes.CDLL) -> float:
    library.answer.restype, library.answer.argtypes = ctypes.c_double, [ctypes.c_double]
    return float(library.answer(1.0))


def afresh(source: str = SOURCE) -> float:
    """What a process that has loaded nothing yet gets, without a warning."""
    cache._loaded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return answer(load(source))


def entry(native: Path) -> Path:
    (path,) = native.glob("*.library")
    return path


def body(source: str, native: Path) -> bytes:
    """A library that was compiled here, as it is kept."""
    before = set(native.glob("*.library"))
    load(source)
    (new,) = set(native.glob("*.library")) - before
    record = read(new)
    new.unlink()
    assert record is not None
    return record.body


def forged(native: Path) -> Path:
    """The entry of SOURCE with another library in it, and hash and key right: what only its place can give away."""
    evil = body(EVIL, native)
    load(SOURCE)
    path = entry(native)
    record = read(path)
    assert record is not None
    write(path, Record(record.about, evil))
    cache._loaded.clear()
    return path


def test_forged_entry_would_be_believed(native: Path, log: Path) -> None:
    """The tests below mean something: an entry that the user writes himself is loaded."""
    forged(native)
    assert afresh() == 666.0


def test_a_source_is_compiled_once(native: Path, log: Path) -> None:
    assert loaded() == loaded() == ["42.0"] and lines(log) == 1
    assert afresh() == 42.0 and load(SOURCE) is load(SOURCE) and lines(log) == 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in native.iterdir())
    assert native.stat().st_mode & 0o777 == 0o700 and (native.parent.stat().st_mode & 0o777) == 0o700


def test_all_that_a_library_depends_on_is_in_its_name(native: Path, log: Path) -> None:
    load(SOURCE)
    load(SOURCE + "\n")
    load(SOURCE, flags=("-DX=1",))
    load(SOURCE, flags=("-DX=2",))
    load(SOURCE, openmp=False)
    assert lines(log) == 5 == contents()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="puts another /proc/cpuinfo in place")
@needs_root
def test_another_processor_gets_its_own_library(tmp_path: Path, log: Path) -> None:
    assert loaded() == ["42.0"]
    text = Path("/proc/cpuinfo").read_text()
    assert "flags" in text or "Features" in text
    other = text.replace("flags\t\t: ", "flags\t\t: newest ").replace("Features\t: ", "Features\t: newest ")
    (tmp_path / "cpuinfo").write_text(other)
    mount = f"mount --bind {tmp_path / 'cpuinfo'} /proc/cpuinfo"
    inside = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*inside, sys.executable, "-c", LOAD, SOURCE], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "42.0\n" and lines(log) == 2
    assert loaded() == ["42.0"] and lines(log) == 2


# ---- damage


def test_no_flipped_bit_is_believed(native: Path, log: Path) -> None:
    load(SOURCE)
    path = entry(native)
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    places = [*range(head), *range(head, len(whole), 97), len(whole) - 1]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        assert read(path) is None, at
    for at in (0, 63, 64, head - 2, head, head + 5000, len(whole) - 1):
        before = lines(log)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert afresh() == 42.0 and lines(log) == before + 1
        assert afresh() == 42.0 and lines(log) == before + 1  # and replaced


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 300, 5000, -1])
def test_a_truncated_library_is_compiled_anew(size: int, native: Path, log: Path) -> None:
    load(SOURCE)
    entry(native).write_bytes(entry(native).read_bytes()[:size])
    assert afresh() == afresh() == 42.0 and lines(log) == 2


def test_a_library_under_the_name_of_another_is_compiled_anew(native: Path, log: Path) -> None:
    load(EVIL)
    other = entry(native)
    load(SOURCE)
    (path,) = set(native.glob("*.library")) - {other}
    path.write_bytes(other.read_bytes())
    assert afresh() == afresh() == 42.0 and lines(log) == 3


# ---- other people


@pytest.mark.parametrize("to", ["file", "nowhere", "loop"])
def test_a_link_is_not_followed(to: str, native: Path, log: Path, tmp_path: Path) -> None:
    path = forged(native)
    target = {"file": tmp_path / "evil", "nowhere": tmp_path / "nowhere", "loop": path}[to]
    path.rename(tmp_path / "evil")
    path.symlink_to(target)
    assert afresh() == 42.0 and not path.is_symlink() and (tmp_path / "evil").exists()
    assert afresh() == 42.0


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_loaded(mode: int, native: Path, log: Path) -> None:
    forged(native).chmod(mode)
    assert afresh() == 42.0 and entry(native).stat().st_mode & 0o777 == 0o600


def test_a_pipe_in_the_place_of_a_library_blocks_nobody(native: Path, log: Path) -> None:
    path = forged(native)
    path.unlink()
    os.mkfifo(path)
    assert afresh() == 42.0 and path.is_file()


def test_a_folder_in_the_place_of_a_library_is_only_in_the_way(native: Path, log: Path) -> None:
    path = forged(native)
    path.unlink()
    path.mkdir()
    (answered, warning) = loaded()
    assert answered == "42.0" and "takes no library" in warning


@needs_root
def test_a_file_of_another_user_is_neither_loaded_nor_touched(native: Path, log: Path) -> None:
    path = forged(native)
    os.chown(path, NOBODY, NOBODY)
    before = path.read_bytes()
    answered, warning = loaded()
    assert answered == "42.0" and f"belongs to user {NOBODY}, not to you" in warning
    assert path.read_bytes() == before and path.stat().st_uid == NOBODY


@needs_root
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_folder_of_another_user_is_not_used(which: int, native: Path, log: Path) -> None:
    forged(native)
    folder = (native, native.parent, native.parent.parent)[which]
    os.chown(folder, NOBODY, NOBODY)
    before = sorted(native.iterdir())
    answered, warning = loaded()
    assert answered == "42.0" and f"{folder} belongs to user {NOBODY}, not to you" in warning
    assert sorted(native.iterdir()) == before and found("cache").state == "warn"


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_not_used(which: int, mode: int, native: Path, log: Path) -> None:
    forged(native)
    folder = (native, native.parent, native.parent.parent)[which]
    folder.chmod(mode)
    if mode == 0o1777 and which:  # as in /tmp: nobody can rename what lies there but its owner
        assert distrust(native) is None and loaded() == ["666.0"]
        return
    answered, warning = loaded()
    assert answered == "42.0" and f"{folder} can be written by others" in warning
    assert "can be written by others" in found("cache").value and found("cache").advice


@needs_root
def test_a_link_on_the_way_into_the_folder_of_another_is_seen(native: Path, log: Path, tmp_path: Path) -> None:
    forged(native)
    theirs = tmp_path / "theirs"
    native.parent.rename(theirs)
    native.parent.symlink_to(tmp_path / "hop")
    (tmp_path / "hop").symlink_to(theirs)
    assert loaded() == ["666.0"]  # one's own links to one's own folder are one's own matter
    os.chown(tmp_path / "hop", NOBODY, NOBODY, follow_symlinks=False)
    answered, warning = loaded()
    assert answered == "42.0" and f"{tmp_path / 'hop'} belongs to user {NOBODY}" in warning


def test_links_in_a_circle_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "too many links" in str(distrust(tmp_path / "a" / "native"))


def test_folders_on_the_way_are_private_whatever_the_umask(native: Path, log: Path) -> None:
    old = os.umask(0)
    try:
        assert afresh() == 42.0
    finally:
        os.umask(old)
    assert distrust(native) is None


# ---- disks


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """Another file system at `folder`, where that can be had."""
    argv = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kib", [4, 24, 64])
def test_a_full_disk_costs_the_cache_and_nothing_else(kib: int, native: Path, log: Path) -> None:
    with disk(native.parent.parent, f"size={kib}k"):
        native.mkdir(parents=True, mode=0o700)
        for _ in range(2):
            answered, *said = loaded()
            assert answered == "42.0" and len(said) == len(set(said))
            assert kib > 30 or "for this process only" in said[0]
        assert not [path for path in native.rglob("*") if path.name.startswith(".work-")]


def test_a_read_only_cache_is_read_and_not_missed(native: Path, log: Path) -> None:
    with disk(native.parent.parent, "size=1m"):
        assert loaded() == ["42.0"]
        subprocess.run(["mount", "-o", "remount,ro", str(native.parent.parent)], check=True)
        assert loaded() == ["42.0"] and lines(log) == 1
        answered, warning = loaded(SOURCE.replace("40.0", "41.0"))
        assert answered == "43.0" and f"{native} cannot be written" in warning
        assert "cannot be written" in found("cache").value


def test_a_cache_without_the_right_to_write_is_read_and_not_missed(native: Path, log: Path) -> None:
    without = []
    if os.getuid() == 0:  # root writes everywhere, unless it gives that up
        without = ["setpriv", "--bounding-set", "-dac_override"]
        if shutil.which("setpriv") is None or subprocess.run([*without, "true"], capture_output=True).returncode:
            pytest.skip("root cannot give up its right to write everywhere")
    assert loaded() == ["42.0"]
    native.chmod(0o500)
    for source, wanted in ((SOURCE, ["42.0"]), (SOURCE.replace("40.0", "41.0"), ["43.0"])):
        done = subprocess.run(
            [*without, sys.executable, "-c", LOAD, source], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answered, *warned = done.stdout.splitlines()
        assert [answered] == wanted
        assert len(warned) == (wanted == ["43.0"]) and all(f"{native} cannot be written" in one for one in warned)
    native.chmod(0o700)
    assert lines(log) == 2 and contents()[0] == 1


def test_a_cache_that_cannot_be_made_is_said_once(tmp_path: Path, log: Path) -> None:
    (tmp_path / "file").touch()
    answered, warning = loaded(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert answered == "42.0" and "is not a folder: compiled models are kept for this process only" in warning


def test_programs_may_be_forbidden_where_the_cache_is(native: Path, log: Path) -> None:
    with disk(native.parent.parent, "size=1m,noexec"):
        assert loaded() == loaded() == ["42.0"] and lines(log) == 1


def test_a_file_size_limit_is_an_error_that_leaves_nothing(native: Path, log: Path) -> None:
    load(EVIL)
    before = sorted(native.iterdir())
    process = started("import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n" + LOAD, SOURCE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "CompileError: C compiler" in err
    assert sorted(native.iterdir()) == before and loaded() == ["42.0"]


def test_little_room_keeps_what_was_used_last(native: Path, monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    sources = [SOURCE + "\n" * k for k in range(4)]
    load(sources[0])
    size = entry(native).stat().st_size
    load(sources[1])
    for age, path in zip((300, 200), sorted(native.glob("*.library"), key=lambda p: p.stat().st_mtime)):
        os.utime(path, (time.time() - age,) * 2)
    assert afresh(sources[0]) == 42.0 and lines(log) == 2  # used again: younger than sources[1] now
    monkeypatch.setenv("SIMDL_CACHE_MIB", str(2.5 * size / 2**20))
    load(sources[2])
    assert contents()[0] == 2
    assert afresh(sources[0]) == afresh(sources[2]) == 42.0 and lines(log) == 3
    assert afresh(sources[1]) == 42.0 and lines(log) == 4 and contents()[0] == 2
    monkeypatch.setenv("SIMDL_CACHE_MIB", "0")
    assert afresh(sources[3]) == 42.0 and contents()[0] == 0
    monkeypatch.setenv("SIMDL_CACHE_MIB", "much")
    with pytest.warns(RuntimeWarning, match="SIMDL_CACHE_MIB='much' is not a number of MiB"):
        load(sources[1])


def test_clearing_removes_all_and_refuses_a_folder_of_others(native: Path, log: Path) -> None:
    clear_cache()
    load(SOURCE)
    (native / "zig").mkdir()
    assert contents()[0] == 1 and contents()[1] > 1000
    clear_cache()
    assert list(native.iterdir()) == [] and contents() == (0, 0)
    assert answer(load(SOURCE)) == 42.0 and lines(log) == 2
    native.chmod(0o777)
    with pytest.raises(RunError, match="can be written by others"):
        clear_cache()
    assert contents()[0] == 1


# ---- many processes


@pytest.mark.parametrize("count", [2, 8])
def test_processes_that_want_the_same_compile_it_once(count: int, native: Path, log: Path) -> None:
    processes = [started(LOAD, SOURCE) for _ in range(count)]
    assert [said(process) for process in processes] == [["42.0"]] * count
    assert lines(log) == 1 and not list(native.glob(".work-*")) and not list(native.glob("*.lock"))


def test_what_a_killed_process_left_hinders_nobody(
    native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    wait = f"echo $$ > '{pid}.new'; mv '{pid}.new' '{pid}'; sleep 60"
    slow = f"[ $WANTED = 1 ] && [ ! -e '{pid}' ] && {{ {wait}; }}\n{{cc}}\n"
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "slow", slow))
    process = started(LOAD, SOURCE)
    while not pid.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    assert len(list(native.glob(".work-*"))) == len(list(native.glob("*.lock"))) == 1
    begun = time.monotonic()
    assert afresh() == 42.0 and time.monotonic() - begun < 30  # not the time a lock may take
    for path in (*native.glob(".work-*"), *native.glob("*.lock")):
        os.utime(path, (1.0, 1.0))
    assert afresh(SOURCE + "\n") == 42.0
    assert not list(native.glob(".work-*")) and not list(native.glob("*.lock"))


def test_a_folder_in_use_is_no_leftover(native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    slow = f"[ $WANTED = 1 ] && while [ ! -e '{go}' ]; do touch -d @1 .; sleep 0.05; done\n{{cc}}\n"
    monkeypatch.setenv("SIMDL_CC", script(tmp_path / "slow", slow))
    process = started(LOAD, SOURCE)
    while not [path for path in native.glob(".work-*/source.c") if "answer" in path.read_text()]:
        assert process.poll() is None
        time.sleep(0.02)
    load("int other(void) { return 1; }")  # tidies, and finds a folder that looks old
    go.touch()
    assert said(process) == ["42.0"]


# ---- checks


def test_a_library_that_fails_its_check_is_not_kept(native: Path, log: Path) -> None:
    def wrong(library: ctypes.CDLL) -> None:
        raise ArithmeticError(answer(library))

    for count in (1, 2):
        with pytest.raises(ArithmeticError, match="42.0"):
            load(SOURCE, check=wrong)
        assert lines(log) == count and not list(native.glob("*.library"))


def test_a_check_that_passed_is_not_repeated(native: Path, log: Path) -> None:
    seen: list[float] = []
    load(SOURCE, check=lambda library: seen.append(answer(library)))
    cache._loaded.clear()
    load(SOURCE, check=lambda library: seen.append(answer(library)))
    assert seen == [42.0] and lines(log) == 1


def test_a_library_kept_without_a_check_is_checked_when_one_comes(native: Path, log: Path) -> None:
    seen: list[float] = []
    load(SOURCE)
    load(SOURCE, check=lambda library: seen.append(answer(library)))
    load(SOURCE, check=lambda library: seen.append(answer(library)))
    assert seen == [42.0]


# ---- loading


def test_libraries_loaded_one_after_another_are_different_ones(native: Path, log: Path) -> None:
    """dlopen knows a library by its name, and descriptors have the same few numbers."""
    bodies = [body(SOURCE.replace("40.0", f"{k}.0"), native) for k in range(5)]
    for turn in range(40):
        assert answer(cache.open_library(bodies[turn % 5])) == 2.0 + turn % 5
    assert len(os.listdir("/dev/fd")) < 60


def test_a_copy_to_load_from_is_private_and_goes_away(native: Path, log: Path, tmp_path: Path) -> None:
    data, other = body(SOURCE, native), body(EVIL, native)
    assert answer(_from_file(data, tmp_path)) == 42.0 and answer(_from_file(other, tmp_path)) == 666.0
    assert not list(tmp_path.glob(".work-*"))


def test_temporary_folders_are_gone_when_a_process_ends(tmp_path: Path, log: Path) -> None:
    (tmp_path / "tmp").mkdir()
    left = tmp_path / "tmp" / "simdl-native-dead"
    left.mkdir()
    os.utime(left, (1.0, 1.0))
    (tmp_path / "tmp" / "mine.lock").touch()
    assert loaded(XDG_CACHE_HOME=str(log), TMPDIR=str(tmp_path / "tmp"))[0] == "42.0"
    assert os.listdir(tmp_path / "tmp") == ["mine.lock"]


# ---- the doctor


def found(name: str) -> Finding:
    (finding,) = [one for one in examine() if one.name == name]
    return finding


def test_the_doctor_shows_what_is_used_and_changes_nothing(native: Path, log: Path) -> None:
    assert "not made yet" in found("cache").value and not native.parent.exists()
    assert found("C compiler").value.startswith(os.environ["SIMDL_CC"])
    assert "-ffp-contract=off" in found("flags for compiled models").value
    load(SOURCE)
    assert f"{native}: 1 compiled models" in found("cache").value and "512 MiB" in found("cache").value


def test_the_doctor_says_why_there_is_no_native_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMDL_CC", "none")
    finding = found("C compiler")
    assert finding.state == "absent" and "switched off by SIMDL_CC='none'" in finding.value and finding.advice
    with pytest.raises(CompileError):
        load(SOURCE)

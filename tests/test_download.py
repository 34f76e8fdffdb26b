"""The downloader, against a server on this machine that misbehaves in the ways servers do."""

import contextlib
import hashlib
import http.server
import io
import re
import socket
import stat
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from soundfusion_lib.datasets import download as module
from soundfusion_lib.datasets.download import BLOCK, Source, download
from soundfusion_lib.errors import SoundFusionError


@dataclass
class Site:
    """What the server serves and how, and what it was asked and sent."""

    body: bytes = b""
    ranges: bool = True
    length: bool = True
    encoding: str | None = None
    statuses: list = field(default_factory=list)  # answers before the real one
    cuts: list = field(default_factory=list)  # bytes after which the connection ends, one per answer
    asked: list = field(default_factory=list)  # the Range of each request
    sent: list = field(default_factory=list)  # bytes of each answer
    port: int = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        site = self.server.site
        asked = self.headers["Range"]
        site.asked.append(asked)
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        start, status = 0, 200
        headers = {"Content-Encoding": site.encoding}
        if asked and site.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(site.body):
                return self.answer(416, {"Content-Range": f"bytes */{len(site.body)}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
        body = site.body[start:]
        self.answer(status, headers | {"Content-Length": str(len(body)) if site.length else None})
        body = body[: site.cuts.pop(0) if site.cuts else None]
        with contextlib.suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(body)
        site.sent.append(len(body))
        self.close_connection = True


@pytest.fixture
def site(monkeypatch, request):
    """Of a server whose handler is a test's parameter, or else `Handler`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", Handler))
    server.site = Site(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits between attempts, in seconds, not waited."""
    seconds = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


NOISE = np.random.default_rng(1).bytes(400_000)  # does not compress, so the archive is as long
FILES = {"clips/000/000001.mp3": NOISE, "clips/000/000002.mp3": b"b" * 1000, "clips/readme.txt": b"hello"}


def zipped(files, compression=zipfile.ZIP_BZIP2, mode=0o644):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = compression
            member.external_attr = mode << 16
            archive.writestr(member, content)
    return memory.getvalue()


ZIP = zipped(FILES)  # compressed with bzip2, as FMA's archives are


def tarred(files, kind=tarfile.REGTYPE, link=""):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if content == b"special":
                member.type, member.linkname, member.size = kind, link, 0
            archive.addfile(member, io.BytesIO(content))
    return memory.getvalue()


def get(site, root, *, sha1="right", kind="zip", needed=None):
    if sha1 == "right":
        sha1 = hashlib.sha1(site.body).hexdigest()
    url = f"http://127.0.0.1:{site.port}/music/clips.{kind}"
    return download(Source("clips", url, needed or len(site.body) + 500_000, sha1), root)


def read(folder):
    return {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def names(root):
    """What lies in a folder, without locks."""
    return {path.name for path in root.iterdir() if not path.name.endswith(".lock")}


@pytest.mark.parametrize("kind, pack", [("zip", zipped), ("tar.gz", tarred)])
def test_a_clean_download_unpacks_and_leaves_only_the_folder(site, tmp_path, capsys, kind, pack):
    site.body, site.encoding = pack(FILES), "gzip" if kind == "tar.gz" else None  # which some servers say of it
    root = tmp_path / "new"
    assert get(site, root, kind=kind) == root / "clips"
    assert read(root / "clips") == FILES and names(root) == {"clips"} and site.asked == [None]
    assert "deleted the archive" in capsys.readouterr().out
    assert get(site, root, kind=kind) == root / "clips"
    assert len(site.asked) == 1 and "already" in capsys.readouterr().out


def test_cut_connections_are_resumed_where_they_broke(site, tmp_path, waits):
    site.body, site.cuts = ZIP, [150_000, 100_000, 70_000]
    assert read(get(site, tmp_path)) == FILES
    starts = [int(asked[6:-1]) if asked else 0 for asked in site.asked]
    assert len(starts) == 4 and starts[0] == 0
    for previous, sent, start in zip(starts, site.sent, starts[1:], strict=False):
        assert previous + sent - BLOCK < start <= previous + sent
    assert waits == [1, 2, 4]


def test_an_interrupted_download_keeps_what_came(site, tmp_path, monkeypatch):
    """A server that then ignores ranges sends all again; the rest of another file does not pass."""
    old, at = zipped({"clips/old.txt": NOISE}), 200_000
    for body, ranges in ((ZIP, False), (old, True)):
        site.body, site.ranges, site.cuts = body, ranges, [at]
        with monkeypatch.context() as patch:
            patch.setattr(module, "ATTEMPTS", 1)
            with pytest.raises(SoundFusionError, match="the same command goes on from there") as caught:
                get(site, tmp_path / str(ranges))
        kept = (tmp_path / str(ranges) / "clips.zip.part").stat().st_size
        assert at - BLOCK < kept <= at and f"{kept:,} bytes are kept" in str(caught.value)
        assert names(tmp_path / str(ranges)) == {"clips.zip.part"}
    site.body = ZIP
    with pytest.raises(SoundFusionError, match="wrong checksum .*run the same command again"):
        get(site, tmp_path / "True")
    assert names(tmp_path / "True") == set()
    site.ranges = False
    assert read(get(site, tmp_path / "False")) == FILES and site.sent[-1] == len(ZIP)


def test_server_errors_are_tried_again_with_growing_waits_and_a_missing_file_is_not(site, tmp_path, waits, capsys):
    site.body, site.statuses = ZIP, [500, 503, 429]
    assert read(get(site, tmp_path)) == FILES
    assert len(site.asked) == 4 and waits == [1, 2, 4]
    assert "the server answered 503" in capsys.readouterr().out
    site.statuses = [404]
    with pytest.raises(SoundFusionError, match=r"clips\.zip: the server answered 404"):
        get(site, tmp_path / "missing")
    assert len(site.asked) == 5


def test_no_server_at_all(tmp_path, waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SoundFusionError, match="did not arrive in 10 attempts; .*refused"):
        get(Site(port=port), tmp_path)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_wrong_checksum_deletes_what_came_and_names_both(site, tmp_path):
    site.body = ZIP
    with pytest.raises(SoundFusionError, match=f"checksum {hashlib.sha1(ZIP).hexdigest()} .expected {'0' * 40}"):
        get(site, tmp_path, sha1="0" * 40)
    assert names(tmp_path) == set()
    site.length = False  # and no checksum is known
    assert read(get(site, tmp_path, sha1="")) == FILES


def test_a_file_that_is_too_long_or_for_which_there_is_no_space_is_refused(site, tmp_path, monkeypatch):
    site.body, site.length = bytes(3_000_000), False  # nor is its length told
    with pytest.raises(SoundFusionError, match="has .*more than .*1,000,000"):
        get(site, tmp_path, needed=1_000_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=3_499_999))
    with pytest.raises(SoundFusionError, match="are free"):
        get(site, tmp_path)
    assert len(site.asked) == 1 and names(tmp_path) == set()


@pytest.mark.parametrize("name", ["clips/../../evil.txt", "/evil.txt", "C:evil.txt", "clips\\..\\..\\evil.txt"])
@pytest.mark.parametrize("kind, pack", [("zip", zipped), ("tar.gz", tarred)])
def test_members_outside_the_folder_stay_in_it_or_are_refused(site, tmp_path, kind, pack, name):
    root = tmp_path / "deep" / "root"
    site.body = pack({"clips/good.txt": b"good", name: b"evil"})
    with contextlib.suppress(SoundFusionError):
        get(site, root, kind=kind)
    assert names(root) <= {"clips"} and [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["root"]


def test_links_and_devices_in_a_tar_are_refused_and_links_in_a_zip_come_out_as_files(site, tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        site.body = tarred({"clips/good.txt": b"good", "clips/evil": b"special"}, kind, "../../evil.txt")
        with pytest.raises(SoundFusionError, match="evil"):
            get(site, tmp_path, kind="tar.gz")
        assert names(tmp_path) == set()
    site.body = zipped({"clips/evil": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    assert not (get(site, tmp_path) / "evil").is_symlink()


@pytest.mark.parametrize("kind, pack", [("zip", zipped), ("tar.gz", tarred)])
def test_a_damaged_archive_is_deleted_and_one_of_what_is_in_the_folder_will_do(site, tmp_path, kind, pack):
    site.body = pack(FILES)[:-20_000]
    with pytest.raises(SoundFusionError, match="cannot be unpacked and was deleted"):
        get(site, tmp_path, kind=kind)
    assert names(tmp_path) == set()
    site.body = pack({name.removeprefix("clips/"): content for name, content in FILES.items()})
    assert read(get(site, tmp_path, kind=kind)) == FILES


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_unpacking_keeps_the_archive(site, tmp_path, monkeypatch, fault):
    site.body = ZIP

    def unpack_half(archive, folder):
        (folder / "clips").mkdir(parents=True)
        (folder / "clips" / "stale.txt").write_text("half")
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "unpack_archive", unpack_half)
        patch.setattr(module.shutil, "rmtree", lambda *args, **kwargs: None)  # a kill tidies nothing up
        with pytest.raises((KeyboardInterrupt, SoundFusionError)) as caught:
            get(site, tmp_path)
    assert caught.type is KeyboardInterrupt or "No space left" in str(caught.value)
    assert names(tmp_path) == {"clips.partial", "clips.zip"}
    assert read(get(site, tmp_path)) == FILES and names(tmp_path) == {"clips"}
    assert len(site.asked) == 1  # the archive was complete, and not asked for again


def test_two_downloads_of_the_same_at_once_are_one_and_an_unusable_root(site, tmp_path):
    site.body = ZIP
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: get(site, tmp_path), range(2))) == [tmp_path / "clips"] * 2
    (tmp_path / "file").touch()
    with pytest.raises(SoundFusionError, match="cannot write"):
        get(site, tmp_path / "file")
    assert len(site.asked) == 1

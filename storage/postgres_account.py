"""Who the embedded server runs as: Postgres refuses root, which then has to be somebody else."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import struct

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class AccountUnavailable(Exception):
    """There is no account that the server could run as; the text says why."""


def become(owner: int) -> None:
    """Make this process, which is about to exec the server, run for `owner` of its files.

    A user that is not root stays what it is.
    """
    if os.geteuid() != 0:
        return
    if owner == 0:
        _enter_user_namespace()
    else:
        _become_user(owner)


def owner_for(directory: str, *, user_namespaces: bool) -> int:
    """The uid that owns the server's files in `directory` (made already), now or from now on."""
    if os.geteuid() != 0:
        return os.geteuid()
    data = os.path.join(directory, "data")
    owner = os.stat(data if os.path.exists(data) else directory).st_uid
    if owner != 0 or (user_namespaces and _user_namespaces_work()):
        return owner
    return _nobody().pw_uid


def die_with_parent(sent: signal.Signals) -> None:
    """To be called after `become`: the kernel forgets the wish when credentials change."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0))


def give(path: str, owner: int) -> None:
    """Hand one file or a whole tree to `owner`; does nothing where it is the owner's already."""
    if os.geteuid() != 0 or os.lstat(path).st_uid == owner:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), owner, -1, follow_symlinks=False)
    # The top goes last: its owner says that the whole tree is done.
    os.chown(path, owner, -1, follow_symlinks=False)


def _user_namespaces_work() -> bool:
    """Tried in a child, since there is no way back out of a user namespace."""
    child = os.fork()
    if child == 0:
        try:
            _enter_user_namespace()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _enter_user_namespace() -> None:
    """Be `nobody` to the server and root to the file system, so that nothing is chowned.

    initdb insists on a passwd entry for its uid, hence `nobody` and not a number of our own.
    """
    inside = _nobody()
    _check(_libc.unshare(_CLONE_NEWUSER))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inside.pw_uid} 0 1")
    _write("/proc/self/gid_map", f"{inside.pw_gid} 0 1")


def _become_user(owner: int) -> None:
    """Drop to `owner` and keep the one capability that reaches a venv or data under `/root`.

    That is less than root keeps in a user namespace, and it spares copies of the binaries and
    every change of a directory's mode. Docker's default capabilities include it.
    """
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    group = _group_of(owner)
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(owner, owner, owner)
    mask = 1 << _CAP_DAC_OVERRIDE
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    # effective, permitted, inheritable of capabilities 0..31, then the same of 32..63
    sets = ctypes.create_string_buffer(struct.pack("=6I", mask, mask, mask, 0, 0, 0))
    _check(_libc.capset(header, sets))
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def _group_of(owner: int) -> int:
    try:
        return pwd.getpwuid(owner).pw_gid
    except KeyError:
        return owner


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise AccountUnavailable(
            "there is no user `nobody` here, and Postgres refuses to run as root"
        ) from None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Calls to an S3 server that carry no content: each made once, with errors in the program's own words."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, cast

import aiohttp

from storage.objects import ObjectInfo
from storage.resilient import Transient
from storage.s3_account import S3Account, S3Limits
from storage.s3_errors import StoreRefused, error_of, pause_of

# How long a presigned address of ours is good for; it is used for half of that time.
ADDRESS_SECONDS = 3600

_Answer = Mapping[str, object]
_Call = Callable[..., Awaitable[_Answer]]


class _Boto(Protocol):
    """What is used of aiobotocore's client, which has no types."""

    head_object: _Call
    delete_object: _Call
    list_objects_v2: _Call
    create_multipart_upload: _Call
    complete_multipart_upload: _Call
    abort_multipart_upload: _Call
    list_multipart_uploads: _Call
    generate_presigned_url: Callable[..., Awaitable[str]]


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What a HEAD tells; the names in `metadata` are lower-case and without `x-amz-meta-`."""

    info: ObjectInfo
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that was begun and neither finished nor aborted."""

    key: str
    upload_id: str
    begun: float


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing; `token` leads to the next one."""

    objects: Sequence[ObjectInfo]
    token: str | None


class S3Client:
    """Raises ObjectNotFound, StoreRefused, UploadLost, StoreFull and Transient."""

    def __init__(self, boto: _Boto, bucket: str) -> None:
        self._boto = boto
        self._bucket = bucket

    async def head(self, key: str) -> ObjectHead:
        answer = await self._ask(self._boto.head_object, key)
        _needed(answer, "ETag")
        metadata = cast("Mapping[str, str]", answer.get("Metadata", {}))
        return ObjectHead(
            ObjectInfo(
                key,
                cast("int", _needed(answer, "ContentLength")),
                _seconds(_needed(answer, "LastModified")),
            ),
            {name.lower(): value for name, value in metadata.items()},
        )

    async def delete(self, key: str) -> None:
        _refuse_page(await self._ask(self._boto.delete_object, key))

    async def page(self, prefix: str, after: str, token: str | None, limit: int = 1000) -> Page:
        where: dict[str, object] = {"ContinuationToken": token} if token else {"StartAfter": after}
        answer = await self._call(
            "",
            self._boto.list_objects_v2,
            Prefix=prefix,
            MaxKeys=limit,
            **{k: v for k, v in where.items() if v},
        )
        _needed(answer, "IsTruncated")
        contents = cast("Sequence[_Answer]", answer.get("Contents", ()))
        listed = [
            ObjectInfo(str(each["Key"]), cast("int", each["Size"]), _seconds(each["LastModified"]))
            for each in contents
        ]
        return Page(listed, str(answer["NextContinuationToken"]) if answer.get("IsTruncated") else None)

    async def begin_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        answer = await self._ask(
            self._boto.create_multipart_upload,
            key,
            Metadata=dict(metadata),
            ContentType="application/octet-stream",
        )
        return str(_needed(answer, "UploadId"))

    async def complete_upload(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
        answer = await self._ask(
            self._boto.complete_multipart_upload, key, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
        _needed(answer, "ETag")

    async def abort_upload(self, key: str, upload_id: str) -> None:
        _refuse_page(await self._ask(self._boto.abort_multipart_upload, key, UploadId=upload_id))

    async def open_uploads(self, after: str = "", limit: int = 1000) -> list[OpenUpload]:
        """The first ones whose keys are greater than `after`, in the order of their keys."""
        # Without the id of an upload, which versitygw refuses: of one key that stands at the end of a page
        # the next listing tells the rest.
        marked = {"KeyMarker": after} if after else {}
        answer = await self._call("", self._boto.list_multipart_uploads, MaxUploads=limit, **marked)
        _needed(answer, "IsTruncated")
        return [
            OpenUpload(str(each["Key"]), str(each["UploadId"]), _seconds(each["Initiated"]))
            for each in cast("Sequence[_Answer]", answer.get("Uploads", ()))
        ]

    async def address(self, key: str) -> str:
        """A URL by which whoever has it can read the object for ADDRESS_SECONDS."""
        return await self._signed("get_object", ADDRESS_SECONDS, {"Key": key})

    async def download_address(self, key: str, disposition: str, seconds: int) -> str:
        """A URL by which whoever has it can read the object, with that Content-Disposition."""
        return await self._signed(
            "get_object", seconds, {"Key": key, "ResponseContentDisposition": disposition}
        )

    async def upload_address(self, key: str, size: int, content_type: str | None, seconds: int) -> str:
        """A URL by which whoever has it can put an object of just that size, and type if there is one,
        there: both are signed, and have to be sent."""
        asked: dict[str, object] = {"Key": key, "ContentLength": size}
        if content_type is not None:
            asked["ContentType"] = content_type
        return await self._signed("put_object", seconds, asked)

    async def _signed(self, method: str, seconds: int, asked: Mapping[str, object]) -> str:
        with _translated(str(asked["Key"])):
            parameters = {"Bucket": self._bucket, **asked}
            return await self._boto.generate_presigned_url(method, Params=parameters, ExpiresIn=seconds)

    async def _ask(self, call: _Call, key: str, **parameters: object) -> _Answer:
        return await self._call(key, call, Key=key, **parameters)

    async def _call(self, key: str, call: _Call, **parameters: object) -> _Answer:
        with _translated(key):
            return await call(Bucket=self._bucket, **parameters)


@asynccontextmanager
async def open_client(account: S3Account, limits: S3Limits) -> AsyncGenerator[S3Client, None]:
    """One client for the process, closed when the block is left. Raises StoreRefused for an account that
    can be none."""
    if not account.key_id or not account.secret:
        # Others would be looked for, all over the machine and the network.
        raise StoreRefused("a bucket needs an access key and the secret to it")
    async with AsyncExitStack() as stack:
        try:
            with _translated(""):
                boto = await stack.enter_async_context(_client(account, limits))
        except ValueError as error:
            raise StoreRefused(f"the object store cannot be asked: {error}") from error
        yield S3Client(boto, account.bucket)


def _client(account: S3Account, limits: S3Limits) -> AbstractAsyncContextManager[_Boto]:
    # Found at run time: it costs 60 MB of memory and 150 ms, which a gateway over a folder need not pay.
    config = importlib.import_module("botocore.config").Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=limits.connect_timeout,
        read_timeout=limits.complete_timeout,
        # One wrapper tries again, counts and logs: `storage.resilient`.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Filebase rejects the checksum trailers that newer clients send by themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=64,
    )
    session = importlib.import_module("aioboto3").Session(
        aws_access_key_id=account.key_id,
        aws_secret_access_key=account.secret,
        region_name=account.region,
    )
    opening: AbstractAsyncContextManager[_Boto] = session.client(
        "s3", endpoint_url=account.endpoint_url, config=config
    )
    return opening


@contextmanager
def _translated(key: str) -> Generator[None, None, None]:
    exceptions = importlib.import_module("botocore.exceptions")
    parsers = importlib.import_module("botocore.parsers")
    try:
        yield
    except exceptions.ClientError as error:
        raise _error_of(key, cast("Mapping[str, _Answer]", error.response)) from error
    except (exceptions.HTTPClientError, exceptions.ConnectionError, aiohttp.ClientError, OSError) as error:
        raise Transient(f"the object store cannot be reached ({type(error).__name__})") from error
    except parsers.ResponseParserError as error:
        raise Transient("the object store's answer is not XML") from error
    except exceptions.BotoCoreError as error:
        # The last, since the others that it stands above may pass: this one was never sent.
        raise StoreRefused(f"the object store cannot be asked: {' '.join(str(error).split())}") from error


def _error_of(key: str, response: Mapping[str, _Answer]) -> Exception:
    about, error = response["ResponseMetadata"], response["Error"]
    headers = cast("Mapping[str, str]", about.get("HTTPHeaders", {}))
    return error_of(
        key,
        cast("int", about["HTTPStatusCode"]),
        str(error.get("Code", "")),
        str(error.get("Message", "")),
        pause=pause_of(headers.get("retry-after")),
    )


def _refuse_page(answer: _Answer) -> None:
    """A page of a proxy with the status 200 would be taken for a success."""
    about = cast("_Answer", answer.get("ResponseMetadata", {}))
    headers = cast("Mapping[str, str]", about.get("HTTPHeaders", {}))
    if about.get("HTTPStatusCode") != 204 and headers.get("content-type", "").startswith("text/html"):
        raise Transient("the object store's answer is a page of HTML")


def _needed(answer: _Answer, name: str) -> object:
    # botocore reads what it knows of any XML, and would take another document for an empty answer.
    if name not in answer:
        raise Transient(f"the object store's answer has no {name}")
    return answer[name]


def _seconds(moment: object) -> float:
    return cast("datetime", moment).timestamp()

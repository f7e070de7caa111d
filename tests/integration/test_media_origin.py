"""The pages' policy lets clips in from where they are: our own origin, or the bucket's public one."""

import dataclasses

from backend.services.media_origin import media_origin
from backend.storage.s3 import S3Storage, parse_s3_url
from backend.studio import Studio


async def test_a_folder_is_our_own_origin(studio: Studio) -> None:
    assert await media_origin(studio) == ""


async def test_a_bucket_is_the_one_that_browsers_reach(studio: Studio) -> None:
    address = "s3://key:secret@minio.lan:9000/clips?tls=false&region=us-east-1"
    for more, origin in (
        ("", "http://minio.lan:9000"),
        ("&public_endpoint=https://clips.example.org", "https://clips.example.org"),
    ):
        storage = S3Storage(parse_s3_url(address + more))
        assert await media_origin(dataclasses.replace(studio, storage=storage)) == origin
        await storage.close()
